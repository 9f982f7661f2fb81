"""What the code of the pages may not do, whatever a test of them happens to show."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from covid_core.locations import PROJECT

PAGES = [PROJECT / "streamlit_app.py", *sorted((PROJECT / "pages").glob("*.py"))]
ROOM = [*PAGES, *sorted((PROJECT / "covid_core" / "ui").glob("*.py"))]
# What is the same for every visitor, and so may be kept for all of them.
SHARED_CACHES = {
    *("_bundle", "_predictor", "_record", "_cached_record", "_past", "_gate", "_shared_prediction"),
    *("_table_for_all", "_opened_for_all", "_shared_audit", "_shared_desk", "_prepared", "picture_store"),
}
MARKDOWN = {
    *("markdown", "caption", "write", "title", "header", "subheader", "error", "warning", "info", "success", "toast"),
    *("button", "checkbox", "download_button", "expander", "metric", "radio", "toggle", "status", "badge"),
}
GIVEN_BY_USERS = {"name", "file", "file_name"}


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def called(node: ast.AST) -> str:
    """The last part of the name of what is called: `markdown` of `st.markdown(...)`."""
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def keyword(call: ast.expr, name: str) -> object:
    values = [one.value for one in call.keywords if one.arg == name] if isinstance(call, ast.Call) else []
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


@pytest.mark.parametrize("path", ROOM, ids=lambda path: path.name)
def test_no_html_of_others_reaches_a_page(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.keyword):
            assert not str(node.arg).startswith("unsafe_allow"), f"line {node.value.lineno}"
        if isinstance(node, ast.Call) and called(node) in {"html", "iframe"}:
            texts = [one for one in node.args if not (isinstance(one, ast.Name) and one.id.isupper())]
            assert not texts, f"line {node.lineno}: HTML that is no constant of the module"


@pytest.mark.parametrize("path", ROOM, ids=lambda path: path.name)
def test_only_what_is_the_same_for_everyone_is_cached_for_everyone(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if called(decorator) in {"cache_data", "cache_resource"}:
                    shared = keyword(decorator, "scope") != "session"
                    assert not shared or node.name in SHARED_CACHES, f"{node.name} is cached for all sessions"
                # An upload has no business in these; a function without arguments cannot be given one.
                if called(decorator) in {"cache", "lru_cache"}:
                    assert not node.args.args, f"{node.name} is cached for all sessions"


@pytest.mark.parametrize("path", ROOM, ids=lambda path: path.name)
def test_the_name_of_a_file_is_escaped_where_markdown_is_read(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.Call) and called(node) in MARKDOWN:
            for given in [*node.args, *(one.value for one in node.keywords if one.arg in {"label", "help", "body"})]:
                assert not list(unescaped(given)), f"line {node.lineno}: use `plain`"


def unescaped(node: ast.AST) -> Iterator[ast.Attribute]:
    """The attributes in an expression that users give, outside a call of `plain`."""
    if isinstance(node, ast.Lambda) or (isinstance(node, ast.Call) and called(node) == "plain"):
        return
    if isinstance(node, ast.Attribute) and node.attr in GIVEN_BY_USERS:
        yield node
    for inner in ast.iter_child_nodes(node):
        yield from unescaped(inner)


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        'st.markdown(f"**{upload.name}**", unsafe_allow_html=True)\n'
        "st.html(upload.name)\n"
        "@st.cache_data\ndef read(data): ...\n",
        encoding="utf-8",
    )
    for rule in (
        test_no_html_of_others_reaches_a_page,
        test_only_what_is_the_same_for_everyone_is_cached_for_everyone,
        test_the_name_of_a_file_is_escaped_where_markdown_is_read,
    ):
        with pytest.raises(AssertionError):
            rule(bad)
