"""What the code of the pages may not do, whatever a test of them happens to show."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from covid_core.paths import PROJECT

FILES = [PROJECT / "streamlit_app.py", *(PROJECT / "pages").glob("*.py"), *(PROJECT / "covid_core" / "ui").glob("*.py")]
# The same for every visitor, so it may be kept for all of them.
SHARED_CACHES = {
    *("_bundle", "_predictor", "cached_record", "cached_gate", "_shared_prediction", "picture_store"),
    *("_opened_for_all", "_shared_store", "_prepared"),
}
MARKDOWN = {
    *("markdown", "caption", "write", "title", "header", "subheader", "error", "warning", "info", "success", "toast"),
    *("button", "checkbox", "download_button", "expander", "metric", "radio", "toggle", "status", "badge"),
}


def called(node: ast.AST) -> str:
    """The last part of the name of what is called: `markdown` of `st.markdown(...)`."""
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def from_users(node: ast.AST) -> bool:
    """Whether an expression holds a name of a file outside a call of `plain`."""
    if isinstance(node, ast.Lambda) or (isinstance(node, ast.Call) and called(node) == "plain"):
        return False
    named = isinstance(node, ast.Attribute) and node.attr in {"name", "file", "file_name"}
    return named or any(from_users(inner) for inner in ast.iter_child_nodes(node))


def forbidden(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            options = {one.arg or "": one.value for one in node.keywords}
            if any(name.startswith("unsafe_allow") for name in options):
                yield f"line {node.lineno}: unsafe HTML"
            constants = all(isinstance(one, ast.Name) and one.id.isupper() for one in node.args)
            if called(node) in {"html", "iframe"} and not constants:
                yield f"line {node.lineno}: HTML that is no constant of the module"
            shown = [*node.args, *(options[name] for name in ("label", "help", "body") if name in options)]
            if called(node) in MARKDOWN and any(map(from_users, shown)):
                yield f"line {node.lineno}: the name of a file as Markdown; use `plain`"
        if isinstance(node, ast.FunctionDef) and node.name not in SHARED_CACHES:
            for decorator in node.decorator_list:
                options = {one.arg: one.value for one in getattr(decorator, "keywords", [])}
                scope = getattr(options.get("scope"), "value", None)
                # A function without arguments cannot be given an upload.
                unsafe = called(decorator) in {"cache_data", "cache_resource"} and scope != "session"
                if unsafe or (called(decorator) in {"cache", "lru_cache"} and node.args.args):
                    yield f"line {node.lineno}: {node.name} is cached for all sessions"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_page_shows_markup_of_users_or_shares_what_is_theirs(path: Path) -> None:
    assert list(forbidden(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "bad",
    [
        'st.markdown(f"**{upload.name}**")',
        'st.markdown("x", unsafe_allow_html=True)',
        "st.html(upload.name)",
        "@st.cache_data\ndef read(data): ...",
        "@lru_cache\ndef read(data): ...",
    ],
)
def test_the_rule_sees_what_it_forbids(bad: str) -> None:
    assert list(forbidden(ast.parse(bad)))


def test_every_shared_cache_that_is_allowed_exists() -> None:
    defined = {
        node.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert defined >= SHARED_CACHES
