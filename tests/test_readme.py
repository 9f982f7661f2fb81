"""The documents: their generated parts are up to date, their commands can be parsed, and their links lead to files."""

import json
import re
import shlex
import subprocess
import sys
from statistics import median

import pytest

from benchmarks import readme
from covid_core.cli.main import build_parser
from tests.conftest import PROJECT_DIR

DOCUMENTS = {
    str(path.relative_to(PROJECT_DIR)): path for path in (*PROJECT_DIR.glob("*.md"), *PROJECT_DIR.glob("docs/*.md"))
}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in DOCUMENTS.items()}
BLOCKS = [block for text in TEXTS.values() for block in re.findall(r"```.*?```", text, flags=re.DOTALL)]
COMMANDS = [
    command
    for block in BLOCKS
    for command in re.findall(r"^(?:\$ )?(?:python -m covid_core|covid-core) (.+)$", block, flags=re.MULTILINE)
]


def test_the_generated_parts_are_up_to_date() -> None:
    command = [sys.executable, "benchmarks/readme.py", "--check"]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_part_that_differs_is_written_again_and_the_rest_is_kept() -> None:
    text = "before\n<!-- generated: one -->\nold\n<!-- end -->\nbetween\n<!-- generated: two -->\n<!-- end -->\nafter"
    assert readme.filled(text, {"one": lambda: "1", "two": lambda: "2"}) == (
        "before\n<!-- generated: one -->\n1\n<!-- end -->\nbetween\n<!-- generated: two -->\n2\n<!-- end -->\nafter"
    )
    with pytest.raises(KeyError):
        readme.filled(text, {"one": lambda: "1"})


def test_every_part_stands_in_one_document_and_every_mark_is_closed() -> None:
    marks = [mark for text in TEXTS.values() for mark in re.findall(r"<!-- (?:generated: (\w+)|end) -->", text)]
    assert sorted(marks[::2]) == sorted(readme.PARTS)
    assert set(marks[1::2]) == {""}


def test_the_figures_of_the_readme_are_those_of_the_default_model() -> None:
    evaluation = json.loads((PROJECT_DIR / "models" / readme.MODELS[0] / "evaluation.json").read_text(encoding="utf-8"))
    hospitals = evaluation["hospitals"]
    without = [one["called_covid"] for one in evaluation["strangers"] if "COVID-19" not in one["kind"]]
    baselines = [
        one["within_source_auc"]["value"] for one in evaluation["baselines"].values() if "within_source_auc" in one
    ]
    changes = [one["flipped"] for one in evaluation["robustness"]["changes"]]
    table = re.search(r"<!-- generated: figures -->\n(.*?)<!-- end -->", TEXTS["README.md"], flags=re.DOTALL)
    assert table is not None
    shown = [[cell.strip() for cell in line.split("|")[2:4]] for line in table[1].splitlines()[2:]]
    expected = [
        (f"{hospitals['roc_auc']['value']:.2f} ", f"{hospitals['size_alone']['roc_auc']['value']:.2f} "),
        (f"{hospitals['sensitivity']['value']:.2f} ", f"{hospitals['specificity']['value']:.2f} "),
        (f"{evaluation['metrics']['within_source_auc']['value']:.2f} ", f"{max(baselines):.2f} "),
        (f"{max(one['value'] for one in without):.2f} ", f"{min(one['value'] for one in without):.2f} "),
        (f"{100 * max(changes):.1f}%", f"{100 * median(changes):.1f}%"),
    ]
    assert len(shown) == len(expected)
    for cells, figures in zip(shown, expected, strict=True):
        assert cells[0].startswith(figures[0])
        assert f": {figures[1]}" in f"{cells[1]} "


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_documents_can_be_parsed(command: str) -> None:
    build_parser().parse_args(shlex.split(command, comments=True))


def test_every_command_is_documented() -> None:
    (subcommands,) = (one for one in build_parser()._actions if one.choices)
    assert {command.split()[0] for command in COMMANDS} == set(subcommands.choices)


def test_every_relative_link_leads_to_a_file() -> None:
    links = {(name, link) for name, text in TEXTS.items() for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)}
    assert [(name, link) for name, link in sorted(links) if not (DOCUMENTS[name].parent / link).exists()] == []


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150
