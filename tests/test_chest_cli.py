"""`pretrain` and `build` on the command line: what they offer, and how they fail."""

import json

import pytest

from covid_core.cli.main import main
from covid_core.dataset.folds import make_folds, write_folds
from tests.fake_bundle import start_tensorflow
from tests.made_up_collections import write_collections
from tests.training.tiny import write_tiny_dataset


@pytest.fixture(autouse=True)
def _tensorflow_runs() -> None:
    start_tensorflow()


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    return " ".join(streams.out.split())


def test_pretrain_names_its_inputs_and_goes_on_where_it_was_interrupted(capsys) -> None:
    text = help_of("pretrain", capsys)
    for option in ("--collections", "--dataset", "--weights", "--external", "--seed", "--threads", "--out"):
        assert option in text
    assert "goes on where it was interrupted" in text
    for name in ("siim/", "adults/", "auxiliary/", "pretraining/"):
        assert name in text


def test_build_names_its_inputs(capsys) -> None:
    text = help_of("build", capsys)
    for option in ("--run", "--dataset", "--weights", "--annotations", "--folds", "--former", "--external", "--out"):
        assert option in text
    assert "runs/chest" in text


def test_both_are_among_the_commands(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "pretrain" in text
    assert "build" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["pretrain"],
        ["pretrain", "--collections", "a", "--threads", "0"],
        ["pretrain", "--collections", "a", "--seed", "-1"],
        ["build", "--seed", "1"],
        ["build", "--threads", "2"],
    ],
)
def test_bad_usage_leaves_with_2(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: " in capsys.readouterr().err


def failing(arguments, capsys) -> str:
    """The one line on stderr of a command that ends with 1; lines of steps before it may stand there as well."""
    assert main([str(argument) for argument in arguments]) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Traceback" not in streams.err
    *steps, last = streams.err.splitlines()
    assert last.startswith("error: ")
    assert all(step.startswith("[") for step in steps)
    return last


def test_pretrain_without_collections_is_one_line_that_names_them(tmp_path, capsys) -> None:
    dataset = write_tiny_dataset(tmp_path / "dataset")
    given = ["--collections", tmp_path / "none", "--dataset", dataset, "--weights", "none", "--out", tmp_path / "run"]
    line = failing(["pretrain", *given], capsys)
    assert "holds none of the collections siim, adults, auxiliary, pretraining" in line
    assert not (tmp_path / "run").exists()


def test_pretrain_without_a_prepared_dataset_is_one_line(tmp_path, capsys) -> None:
    collections = write_collections(tmp_path / "collections")
    given = [
        "--collections",
        collections,
        "--dataset",
        tmp_path / "none",
        "--weights",
        "none",
        "--out",
        tmp_path / "run",
    ]
    assert "split.csv is missing" in failing(["pretrain", *given], capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["pretrain", "build"])
def test_weights_that_are_not_there_are_one_line(command, tmp_path, capsys) -> None:
    collections = ["--collections", tmp_path] if command == "pretrain" else []
    given = [command, *collections, "--dataset", tmp_path, "--weights", tmp_path / "none.h5", "--out", tmp_path / "out"]
    assert "There is no file" in failing(given, capsys)
    assert list(tmp_path.iterdir()) == []


def test_pretrain_into_a_run_of_another_recipe_is_one_line(tmp_path, capsys) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(json.dumps({"seed": 9}), encoding="utf-8")
    given = ["--collections", tmp_path, "--dataset", tmp_path, "--weights", "none", "--out", tmp_path / "run"]
    assert "a run of another recipe. Choose another --out." in failing(["pretrain", *given], capsys)


def test_pretrain_with_an_external_folder_that_is_not_there_is_one_line(tmp_path, capsys) -> None:
    dataset = write_tiny_dataset(tmp_path / "dataset")
    collections = write_collections(tmp_path / "collections")
    given = ["--collections", collections, "--dataset", dataset, "--weights", "none", "--external", tmp_path / "none"]
    assert "none" in failing(["pretrain", *given, "--out", tmp_path / "run"], capsys)
    assert not (tmp_path / "run").exists()


def test_build_without_a_run_is_one_line_and_writes_nothing(tmp_path, capsys) -> None:
    dataset = write_tiny_dataset(tmp_path / "dataset")
    write_folds(make_folds(dataset), tmp_path / "folds.csv")
    given = ["--run", tmp_path / "none", "--dataset", dataset, "--folds", tmp_path / "folds.csv", "--weights", "none"]
    assert "recipe.json is missing" in failing(["build", *given, "--out", tmp_path / "models" / "mine"], capsys)
    assert not (tmp_path / "models").exists()


def test_build_over_something_else_is_one_line_and_leaves_it(tmp_path, capsys) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("words")
    line = failing(["build", "--run", tmp_path / "none", "--weights", "none", "--out", tmp_path / "thesis"], capsys)
    assert "not a model bundle" in line
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "words"
