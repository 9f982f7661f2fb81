"""The command line as its user meets it: exit codes, what is on which stream, and what a script can rely on."""

import json
import os
import re
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics as reference

from covid_core import __version__
from covid_core.cli.common import native_messages_hidden
from covid_core.cli.main import main
from covid_core.dataset.folds import make_folds, write_folds
from covid_core.evaluation.conformal import ThreeWay
from covid_core.images.decode import decode_file
from covid_core.inference.bundle import load_bundle
from covid_core.inference.gate import load_gate
from covid_core.inference.predictor import Predictor
from covid_core.inference.wording import CHILD
from tests.conftest import PROJECT_DIR
from tests.fake_bundle import (
    add_fake_gate,
    change_manifest,
    start_tensorflow,
    trained_on,
    write_fake_bundle,
    write_fake_chest_bundle,
    write_image,
)
from tests.made_up_collections import write_collections
from tests.phantom import phantom_image, write_phantom_dataset
from tests.training.tiny import write_tiny_dataset


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_fake_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An image whose picture has no faults."""
    path = tmp_path_factory.mktemp("images") / "image.png"
    Image.fromarray(phantom_image(np.random.default_rng(3), "covid", 512)).save(path)
    return path


@pytest.fixture
def not_an_image(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("not a picture")
    return path


def probability_of(bundle, image):
    return Predictor(load_bundle(bundle)).predict(decode_file(image)).probability_covid


def run(*arguments):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "covid_core", *map(str, arguments)],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )


def help_of(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    return capsys.readouterr().out


def test_the_general_help_lists_the_commands_and_each_has_its_own(capsys):
    text = help_of(["--help"], capsys)
    assert "not a medical device" in " ".join(text.split())
    commands = re.findall(r"^    (\w+) ", text, re.MULTILINE)
    listed = "fetch prepare audit train finetune crossval evaluate export pretrain build gate predict report"
    assert " ".join(commands) == listed
    for command in commands:
        text = help_of([command, "--help"], capsys)
        assert f"python -m covid_core {command}" in text
        assert "(default:" in text
    assert help_of(["--version"], capsys) == f"{__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["diagnose"],
        ["predict"],
        ["predict", "a.png", "--verbose"],
        ["train", "--backbone", "vgg16"],
        ["train", "--size", "16"],
        ["train", "--size", "2000"],
        ["train", "--epochs", "0"],
        ["train", "--batch-size", "-4"],
        ["train", "--threads", "two"],
        ["train", "--seed", "4294967296"],
        ["prepare", "--seed", "-1"],
        ["prepare", "--ambiguous", "maybe"],
        ["prepare", "--fractions", "0.5", "0.5"],
        ["evaluate", "--stage", "middle"],
        ["evaluate", "--run", "runs/a", "--model", "b"],
        ["pretrain"],
        ["pretrain", "--collections", "c", "--threads", "0"],
        ["pretrain", "--collections", "c", "--seed", "-1"],
        ["build", "--seed", "0"],  # a run has its own, and its threads
        ["build", "--threads", "2"],
        ["gate", "--hospitals"],
        ["export"],
    ],
)
def test_bad_usage_leaves_with_2_and_says_how_it_is_used(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "usage: " in streams.err
    assert streams.err.rstrip().rsplit("\n", maxsplit=1)[-1].startswith("python -m covid_core")


def one_line(text):
    assert text.startswith("error: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


def test_a_missing_or_altered_model_is_one_line(tmp_path, image, capsys, monkeypatch):
    folder = write_fake_bundle(tmp_path / "own")
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path))
    (folder / "head.npz").write_bytes(b"other")
    for model, said in (("large", "own"), ("own", "head.npz was altered")):
        assert main(["predict", str(image), "--model", model]) == 1
        streams = capsys.readouterr()
        assert streams.out == ""
        assert said in one_line(streams.err)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a prepared dataset, its folds, four collections, a run of another recipe, and what is none of ours."""
    folder = write_collections(tmp_path_factory.mktemp("inputs"))
    write_folds(make_folds(write_tiny_dataset(folder / "dataset")), folder / "folds.csv")
    for name, content in (("thesis/chapter.tex", "words"), ("old/recipe.json", '{"seed": 9}')):
        (folder / name).parent.mkdir()
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("prepare --dataset none --out out", "none"),
        ("train --dataset none --weights none --out run", "covid_core prepare --dataset DIR"),
        ("train --dataset none --weights none.h5 --out run", "There is no file"),
        ("train --dataset none --weights none --out thesis --restart", "covid_core prepare --dataset DIR"),
        ("finetune --run none", "run.json is missing"),
        ("evaluate --run none", "run.json is missing"),
        ("export --run none --out bundle", "run.json is missing"),
        ("pretrain --collections . --weights none.h5 --out run", "There is no file"),
        (
            "pretrain --collections none --dataset dataset --weights none --out run",
            "none of the collections siim, adults",
        ),
        ("pretrain --collections . --dataset none --weights none --out run", "covid_core prepare --dataset DIR"),
        ("pretrain --collections . --dataset dataset --weights none --external none --out run", "none"),
        ("pretrain --collections . --dataset dataset --weights none --out old", "a run of another recipe"),
        ("build --run none --dataset none --weights none --out b", "none"),
        ("build --run none --dataset dataset --folds folds.csv --weights none --out b", "recipe.json is missing"),
        ("build --run none --weights none.h5 --out b", "There is no file"),
        ("build --run none --weights none --out thesis", "not a model bundle"),
        ("gate --model none", "none"),
        ("evaluate --model none", "none"),
    ],
)
def test_work_without_its_input_fails_with_one_line_and_touches_nothing(command, said, inputs, capsys, monkeypatch):
    if not command.startswith("prepare"):
        start_tensorflow()
    monkeypatch.chdir(inputs)
    before = sorted(inputs.rglob("*"))
    assert main(command.split()) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    *steps, error = streams.err.splitlines(keepends=True)
    assert said in one_line(error)
    assert all(re.match(r"\[ *\d+ s\] ", step) for step in steps)
    assert sorted(inputs.rglob("*")) == before


def test_gate_with_other_collections_learns_to_warn_of_children_and_prints_what_it_measured(tmp_path, capsys):
    dataset = write_tiny_dataset(tmp_path / "dataset")
    folder = trained_on(write_fake_bundle(tmp_path / "tiny"), dataset)
    collections = write_collections(tmp_path / "collections")
    phantoms = write_phantom_dataset(tmp_path / "phantom", n_patients=2, size=64)
    command = [*map(str, ["gate", "--model", folder, "--dataset", dataset, "--collection", phantoms])]
    pretraining = str(collections / "pretraining")
    assert main([*command, "--collections", str(collections), "--hospitals", pretraining]) == 0
    streams = capsys.readouterr()
    assert "8 children" in streams.err
    head, _, *rows = [line for line in streams.out.splitlines() if line.startswith("|")]
    assert "| Warned of a child | Called COVID-19, nothing said |" in head
    # Those that the gate learned from are no test of it, so none is left of either finding.
    assert [row.split(" | ")[1] for row in rows if "pretraining" in row] == ["0", "0"]
    assert load_gate(folder / "gate.npz").child_limit <= 1
    load_bundle(folder)
    assert main(command) == 0
    assert "0 children" in capsys.readouterr().err
    assert load_gate(folder / "gate.npz").child_limit == 2


def figures_in(folder):
    """What scikit-learn makes of the test part of a bundle's predictions: its report's rows, and its area under the curve."""
    table = pd.read_csv(folder / "predictions.csv")
    table = table[table["part"] == "test"]
    covid, probability = table["label"] == "covid", table["probability_covid"]
    report = reference.classification_report(
        covid, probability >= 0.5, target_names=["non_covid", "covid"], output_dict=True
    )
    return report, reference.roc_auc_score(covid, probability)


@pytest.mark.parametrize("by_name", [False, True])
def test_evaluate_prints_the_report_of_a_bundle_again_from_its_predictions(tmp_path, capsys, monkeypatch, by_name):
    folder = write_fake_bundle(tmp_path / "own")
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path))
    before = json.loads((folder / "evaluation.json").read_text())
    assert main(["evaluate", "--model", "own" if by_name else str(folder)]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    assert streams.out.startswith("Model own: 40 test images of 20 patients")
    report, area = figures_in(folder)
    for name in ("non_covid", "covid"):
        row = report[name]
        figures = [f"{row[figure]:.2f}" for figure in ("precision", "recall", "f1-score")]
        assert re.search(
            rf"^ *{name} +{' +'.join(map(re.escape, figures))} +{row['support']:.0f}$", streams.out, re.MULTILINE
        )
    assert re.search(rf"^ROC AUC +{area:.2f} ", streams.out, re.MULTILINE)
    assert f"written: {folder / 'evaluation.json'}, MODEL_CARD.md" in streams.out
    after = json.loads((folder / "evaluation.json").read_text())
    assert after["metrics"]["roc_auc"]["value"] == pytest.approx(before["metrics"]["roc_auc"]["value"], abs=1e-9)
    assert (before["bootstrap"]["resamples"], after["bootstrap"]["resamples"]) == (50, 2000)
    load_bundle(folder)


def test_evaluate_refuses_an_altered_bundle_with_one_line(tmp_path, capsys):
    start_tensorflow()
    folder = write_fake_bundle(tmp_path / "own")
    (folder / "predictions.csv").write_text("filename\n")
    assert main(["evaluate", "--model", str(folder)]) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "predictions.csv was altered" in one_line(streams.err)


def test_evaluate_tests_a_bundle_on_external_images(tmp_path, image, capsys):
    folder = write_fake_bundle(tmp_path / "own")
    far = tmp_path / "far"
    (far / "images").mkdir(parents=True)
    (far / "images" / image.name).write_bytes(image.read_bytes())
    (far / "labels.csv").write_text(f"filename,finding,label\n{image.name},COVID-19,covid\n")
    assert main(["evaluate", "--model", str(folder), "--external", str(far)]) == 0
    assert capsys.readouterr().err == ""
    found = json.loads((folder / "evaluation.json").read_text())["external"]
    called = int(probability_of(folder, image) >= 0.5)
    entry = found["far"]["by_finding"]["COVID-19"]
    assert (entry["n"], entry["called_covid"], entry["sensitivity"]["value"]) == (1, called, called)


def test_evaluate_leaves_a_bundle_alone_whose_external_images_cannot_be_read(tmp_path, not_an_image, capsys):
    folder = write_fake_bundle(tmp_path / "own")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    far = tmp_path / "far"
    (far / "images").mkdir(parents=True)
    (far / "images" / "notes.png").write_bytes(not_an_image.read_bytes())
    (far / "labels.csv").write_text("filename,finding,label\nnotes.png,COVID-19,covid\n")
    for place in (far, tmp_path / "nowhere"):
        assert main(["evaluate", "--model", str(folder), "--external", str(place)]) == 1
        one_line(capsys.readouterr().err)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, phantom_dataset, capsys):
    (tmp_path / "file").write_text("words")
    assert main(["prepare", "--dataset", str(phantom_dataset), "--out", str(tmp_path / "file" / "out")]) == 1
    one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, None),
        ({"threshold": 1.0}, None),
        (
            {"three_way": ThreeWay(0.004, 0.997, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="nothing")},
            "indeterminate (between 0.00 and 1.00 both classes are kept, at 90% coverage)",
        ),
        ({"three_way": ThreeWay(0.5, 0.5, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="nothing")}, None),
    ],
)
def test_predict_prints_the_class_its_confidence_and_an_indeterminate_decision(tmp_path, image, capsys, settings, line):
    folder = write_fake_bundle(tmp_path / "own", **settings)
    probability = probability_of(folder, image)
    capsys.readouterr()
    assert main(["predict", str(image), "--model", str(folder)]) == 0
    label = "covid" if probability >= settings.get("threshold", 0.5) else "non_covid"
    confidence = probability if label == "covid" else 1 - probability
    decision = f"  Decision   : {line}\n" if line else ""
    assert capsys.readouterr().out == f"Result:\n  Class      : {label}\n  Confidence : {confidence:.1%}\n{decision}"
    main(["predict", "--json", str(image), "--model", str(folder)])
    found = json.loads(capsys.readouterr().out)
    expected = ("indeterminate" if line else label) if "three_way" in settings else None
    assert (found["label"], found.get("decision")) == (label, expected)


def test_several_images_are_headed_by_their_names_and_a_refused_one_says_why(bundle, image, not_an_image, capsys):
    assert main(["predict", str(image), str(not_an_image), str(image), "--model", str(bundle)]) == 1
    streams = capsys.readouterr()
    first, second, third = re.split(r"^(?=/)", streams.out, flags=re.MULTILINE)[1:]
    assert first == third
    assert first.startswith(f"{image}\nResult:\n  Class      : ")
    assert second.startswith(f"{not_an_image}\nRefused:\n  ")
    assert "not a PNG, JPEG or DICOM" in second
    assert "1 of 3" in streams.err
    one_line(streams.err)


def test_json_gives_one_object_a_line_and_goes_on_past_bad_files(bundle, image, not_an_image, capsys):
    missing = image.with_name("none.dcm")
    assert main(["predict", "--json", "--model", str(bundle), str(missing), str(image), str(not_an_image)]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == [str(missing), str(image), str(not_an_image)]
    assert [line["status"] for line in lines] == ["refused", "ok", "refused"]
    assert [line.get("reason") for line in lines] == ["missing_file", None, "not_an_image"]
    assert all(line["message"] for line in lines if line["status"] == "refused")
    probability = probability_of(bundle, image)
    assert lines[1] == {
        "file": str(image),
        "status": "ok",
        "label": "covid" if probability >= 0.5 else "non_covid",
        "probability_covid": pytest.approx(probability, abs=1e-6),
        "confidence": pytest.approx(max(probability, 1 - probability), abs=1e-6),
        "threshold": 0.5,
        "model": "tiny",
        "version": "2000-01-01-00000000",
    }


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    """A chest reader whose gate takes everything for a child's from a probability of 0.5 on, which each has."""
    return add_fake_gate(write_fake_chest_bundle(tmp_path_factory.mktemp("models") / "chest"), child_limit=0.5)


def test_predict_says_what_a_radiograph_leans_to_how_much_is_affected_and_warns_of_a_child(chest, image, capsys):
    found = Predictor(load_bundle(chest)).predict(decode_file(image))
    titles = {
        "none": "No pattern of pneumonia",
        "covid": "COVID-19 pattern",
        "other": "Pattern of another pneumonia",
    }
    capsys.readouterr()
    assert main(["predict", str(image), "--model", str(chest)]) == 0
    assert capsys.readouterr().out == (
        f"Result:\n  Class      : {found.label}\n  Confidence : {found.confidence * 100:.1f}%\n"
        f"  Ensemble   : P(covid) {found.spread[0]:.2f} to {found.spread[1]:.2f}, the model's {found.probability_covid:.2f}\n"
        f"  Leans to   : {titles[found.pattern]}\n"
        f"  Opacities  : in {found.affected * 100:.0f}% of the lungs\n"
        f"  Caution    : {CHILD}\n"
    )
    main(["predict", "--json", str(image), "--model", str(chest)])
    line = json.loads(capsys.readouterr().out)
    assert (line["pattern"], line["gate"], line["warnings"]) == (found.pattern, "passed", [CHILD])
    assert line["probability_pattern"] == pytest.approx(found.probability_pattern, abs=1e-6)
    assert line["lungs_affected"] == pytest.approx(found.affected, abs=1e-6)
    assert (line["spread_low"], line["spread_high"]) == pytest.approx(found.spread, abs=1e-6)


def test_a_gate_that_knows_no_children_warns_of_none(tmp_path, image, capsys):
    folder = add_fake_gate(write_fake_chest_bundle(tmp_path / "chest"))  # a limit of 2
    assert main(["predict", str(image), "--model", str(folder)]) == 0
    assert "Caution" not in capsys.readouterr().out


def test_the_label_follows_the_exact_probability_and_not_the_rounded_one(bundle, image, tmp_path, capsys):
    folder = write_fake_bundle(tmp_path / "close")
    just_above = probability_of(bundle, image) + 1e-9
    change_manifest(folder, lambda manifest: manifest["threshold"].update(value=just_above))
    main(["predict", "--json", "--model", str(folder), str(image)])
    line = json.loads(capsys.readouterr().out)
    assert line["label"] == "non_covid"
    assert line["threshold"] == just_above


def test_the_default_model_and_its_folder_come_from_the_environment(bundle, image, capsys, monkeypatch):
    monkeypatch.setenv("COVID_MODELS_DIR", str(bundle.parent))
    monkeypatch.setenv("COVID_MODEL", "tiny")
    assert main(["predict", "--json", str(image)]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "tiny"


def test_a_process_of_its_own_has_nothing_on_stderr_but_its_errors(bundle, image, not_an_image):
    good = run("predict", "--json", "--model", bundle, image)
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["status"] == "ok"
    bad = run("predict", "--model", bundle, not_an_image)
    assert bad.returncode == 1
    one_line(bad.stderr)
    assert run("predict").returncode == 2


@pytest.mark.parametrize("failing", [False, True])
def test_what_native_libraries_write_is_hidden_while_they_start_and_only_then(capfd, failing):
    before = len(list(Path("/dev/fd").iterdir())) if Path("/dev/fd").exists() else None
    with pytest.raises(RuntimeError) if failing else nullcontext(), native_messages_hidden():
        os.write(2, b"INFO: native notice\n")
        if failing:
            raise RuntimeError
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "later\n"
    assert before is None or len(list(Path("/dev/fd").iterdir())) == before


def test_an_interruption_leaves_with_130_and_says_whether_the_command_can_go_on(bundle, image, capsys, monkeypatch):
    def interrupted(*_arguments, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("covid_core.inference.batch.read_all", interrupted)
    monkeypatch.setattr("covid_core.dataset.download.fetch_dataset", interrupted)
    assert main(["predict", str(image), "--model", str(bundle)]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert main(["fetch"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on from here\n"


def test_a_command_whose_packages_are_not_installed_names_the_file_that_lists_them(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    for name in [name for name in sys.modules if name.startswith("covid_core.training")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["finetune", "--run", "runs/none"]) == 1
    assert "pip install -r requirements-train.txt" in capsys.readouterr().err


def test_what_speaks_against_relying_on_an_image_is_said_after_its_class(bundle, tmp_path, capsys):
    image = write_image(tmp_path / "small.png", seed=1)  # 130 pixels wide
    assert main(["predict", str(image), "--model", str(bundle)]) == 0
    assert "\n  Caution    : The image is only 130 pixels" in capsys.readouterr().out
    main(["predict", "--json", str(image), "--model", str(bundle)])
    assert "130 pixels" in json.loads(capsys.readouterr().out)["warnings"][0]


def test_images_are_put_right_before_they_are_read_and_that_is_said(bundle, image, tmp_path, capsys):
    turned = tmp_path / "turned.png"
    Image.open(image).transpose(Image.Transpose.ROTATE_90).save(turned)
    main(["predict", "--json", "--model", str(bundle), "--repair", "turn_right", str(turned)])
    line = json.loads(capsys.readouterr().out)
    assert line["repairs"] == ["turn_right"]
    assert line["probability_covid"] == pytest.approx(probability_of(bundle, image), abs=1e-6)


def test_the_images_of_an_archive_have_a_line_each(bundle, image, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(image, "first.png")
        archive.writestr("notes.txt", "words")
    assert main(["predict", "--json", "--model", str(bundle), str(tmp_path / "images.zip")]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in lines] == ["ok", "refused"]


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A folder of models with one bundle, `own`, and no collection."""
    folder = write_fake_bundle(tmp_path / "models" / "own")
    monkeypatch.setenv("COVID_MODELS_DIR", str(folder.parent))
    return folder


def report_of(alone, *arguments):
    """The command on this bundle, without the collection that may be installed here."""
    return main(["report", "--model", "own", "--collection", str(collection_beside(alone)), *map(str, arguments)])


def collection_beside(alone):
    folder = alone.parent.parent / "collection"
    folder.mkdir(exist_ok=True)
    (folder / "metadata.csv").write_text(
        "patientid,sex,age,finding,RT_PCR_positive,view,modality,filename,url\n"
        "1,F,64,Tuberculosis,Y,PA,X-ray,film41.png,https://example.org/\n"
    )
    return folder


@pytest.mark.parametrize("given", [True, False])
def test_report_writes_an_html_file_and_makes_its_folder(alone, tmp_path, capsys, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "new" / "own.html" if given else Path("own-report.html")
    assert report_of(alone, *(["--out", out] if given else [])) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    assert streams.out.startswith(f"written: {out} (")
    assert out.read_bytes().startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("own.pdf", [], r"\.html"),
        ("own", [], r"\.html"),
        ("own.html", ["--model", "nobody"], r"Bundles in.*\bown\b"),
        ("own.html", ["--compare", "nobody"], r"Bundles in.*\bown\b"),
    ],
)
def test_a_report_with_another_ending_or_an_unknown_model_is_one_line_and_no_file(alone, capsys, name, options, said):
    out = alone.parent.parent / name
    assert report_of(alone, "--out", out, *options) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert re.search(said, one_line(streams.err))
    assert not out.exists()


@pytest.mark.parametrize("option", ["--prevalence", "--threshold"])
@pytest.mark.parametrize("value", ["0", "1", "-0.1", "nan", "half"])
def test_a_share_that_is_none_is_bad_usage(alone, tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as left:
        report_of(alone, "--out", tmp_path / "own.html", option, value)
    assert left.value.code == 2
    assert "must be a number between 0 and 1" in capsys.readouterr().err
    assert not (tmp_path / "own.html").exists()


def test_a_former_report_survives_a_failure(alone, tmp_path, capsys):
    out = tmp_path / "own.html"
    out.write_text("the former report")
    (alone / "predictions.csv").write_text("filename\n")
    assert report_of(alone, "--out", out) == 1
    assert "predictions.csv was altered" in one_line(capsys.readouterr().err)
    assert out.read_text() == "the former report"


def test_a_report_compares_with_all_others_with_those_named_or_with_none(alone, tmp_path, capsys):
    for name in ("second", "third"):
        write_fake_bundle(alone.parent / name)
    found = {}
    for case, arguments in {
        "default": [],
        "one": ["--compare", "third"],
        "none": ["--compare"],
        "twice": ["--compare", "third", "third"],
    }.items():
        out = tmp_path / f"{case}.html"
        assert report_of(alone, "--out", out, *arguments) == 0
        found[case] = re.findall(r'id="table-compared-with-([a-z0-9-]+)"', out.read_text(encoding="utf-8"))
    assert found == {
        "default": ["1-second", "2-third"],
        "one": ["1-third"],
        "none": [],
        "twice": ["1-third", "2-third"],
    }
    assert capsys.readouterr().err == ""


def test_a_report_shows_the_threshold_and_the_prevalence_that_were_asked_for(alone, tmp_path):
    out = tmp_path / "own.html"
    assert report_of(alone, "--out", out, "--threshold", "0.3", "--prevalence", "0.02") == 0
    text = out.read_text(encoding="utf-8")
    assert "At a threshold of 0.300" in text
    assert "Of 1000 people like this, 20 have COVID-19." in text


def test_a_report_describes_wrong_images_from_the_collection(alone, tmp_path):
    table = pd.read_csv(alone / "predictions.csv")
    wrong = table[(table["part"] == "test") & ((table["label"] == "covid") != (table["probability_covid"] >= 0.5))]
    folder = collection_beside(alone)
    head = (folder / "metadata.csv").read_text().splitlines()[0]
    rows = [f"1,F,64,Tuberculosis,Y,PA,X-ray,{name},https://example.org/" for name in wrong["filename"]]
    (folder / "metadata.csv").write_text("\n".join([head, *rows]) + "\n")
    out = tmp_path / "own.html"
    assert main(["report", "--model", "own", "--collection", str(folder), "--out", str(out)]) == 0
    shown = re.findall(r"<td[^>]*>Tuberculosis, PA, F, 64 years", out.read_text(encoding="utf-8"))
    assert 0 < len(shown) == min(20, len(wrong))


def test_a_report_is_made_without_the_packages_of_training():
    code = "import json, sys; from covid_core.report import build, html, record; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "sklearn", "scipy"} & {name.split(".")[0] for name in json.loads(done.stdout)}
