"""A whole build from a tiny run: the bundle, its figures, and what is refused before anything is computed."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import recall_score, roc_auc_score

from covid_core.dataset.folds import read_folds
from covid_core.dataset.prepare import read_split
from covid_core.errors import BundleError, DatasetError, EvaluationError, TrainingError
from covid_core.evaluation.evaluate import FURTHER_BLOCKS, read_evaluation
from covid_core.files import read_json
from covid_core.images.decode import decode_file
from covid_core.inference.bundle import load_bundle
from covid_core.inference.predictor import Predictor
from covid_core.labels import CLASSES
from covid_core.text import card_sections
from covid_core.training.build import Materials, build
from covid_core.training.export import load_trained
from covid_core.training.workflows import evaluate_bundle
from tests.fake_bundle import THREADS
from tests.training.chest import NETWORKS, RECIPE, SIZE, tiny_networks, write_masks
from tests.training.conftest import MadeRun

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FORMER_THRESHOLD = 0.4


@dataclass(frozen=True)
class Built:
    """A bundle, what it was made from, and the lines that the build printed."""

    folder: Path
    materials: Materials
    lines: list[str]


@pytest.fixture(scope="module")
def built(chest_run: MadeRun, phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Tests share it and must not change it."""
    given = chest_run.inputs
    materials = Materials(
        run=chest_run.run.folder,
        dataset=given["dataset"],
        annotations=given["annotations"],
        folds=tmp_path_factory.mktemp("folds") / "folds.csv",
        external=given["external"],
        collection=phantom_dataset,
    )
    lines: list[str] = []
    with tiny_networks():
        bundle = build(materials, tmp_path_factory.mktemp("models") / "tiny-chest", lines.append)
    return Built(bundle.folder, materials, lines)


@pytest.fixture(scope="module")
def evaluation(built: Built) -> dict[str, Any]:
    return read_evaluation(built.folder / "evaluation.json")


@pytest.fixture(scope="module")
def predictions(built: Built) -> pd.DataFrame:
    return pd.read_csv(built.folder / "predictions.csv", dtype={"patientid": "str", "group": "str"})


@pytest.fixture(scope="module")
def manifest(built: Built) -> dict[str, Any]:
    return load_bundle(built.folder).manifest


@pytest.fixture(scope="module")
def images(chest_run: MadeRun) -> pd.DataFrame:
    """The rows of the run's table, with the name of each file."""
    table = chest_run.run.images
    return table.assign(name=table["path"].map(lambda path: Path(path).name))


def calibrated(raw: np.ndarray, manifest: dict[str, Any]) -> np.ndarray:
    """Platt's curve of the manifest, as the paper writes it."""
    curve = manifest["calibration"]
    assert curve["method"] == "platt"
    return 1 / (1 + np.exp(-(curve["slope"] * np.log(raw / (1 - raw)) + curve["intercept"])))


def is_covid(table: pd.DataFrame) -> np.ndarray:
    return (table["label"] == "covid").to_numpy()


def test_every_image_of_the_dataset_is_predicted_once_in_its_fold(predictions: pd.DataFrame, built: Built) -> None:
    table = read_split(built.materials.dataset)
    assert predictions["filename"].tolist() == table["filename"].tolist()
    expected = table[["filename"]].merge(read_folds(built.materials.folds, built.materials.dataset), on="filename")
    assert predictions["fold"].tolist() == expected["fold"].tolist()
    assert set(predictions["fold"]) == set(range(5))
    assert set(predictions["part"]) == {"out_of_fold"}
    for name in ("patientid", "group", "label", "source"):
        assert predictions[name].tolist() == table[name].tolist()


def test_the_predictions_are_kept_beside_the_run_as_well(built: Built) -> None:
    assert (built.materials.run / "predictions.csv").read_bytes() == (built.folder / "predictions.csv").read_bytes()


def test_the_predictions_repeat_no_more_of_the_metadata_than_the_figures_need(predictions: pd.DataFrame) -> None:
    needed = {"filename", "patientid", "label", "part", "group", "source", "fold"}
    assert set(predictions.columns) == {*needed, "probability_raw", "probability_covid"}


def test_the_probability_is_the_raw_one_on_the_curve_of_the_manifest(
    predictions: pd.DataFrame, manifest: dict[str, Any]
) -> None:
    expected = calibrated(predictions["probability_raw"].to_numpy(), manifest)
    np.testing.assert_allclose(predictions["probability_covid"], expected, atol=1e-5)
    assert predictions["probability_covid"].between(0, 1).all()
    assert predictions["probability_raw"].std() > 0.01


def test_the_evaluation_is_that_of_the_predictions(evaluation: dict[str, Any], predictions: pd.DataFrame) -> None:
    truth, probability = is_covid(predictions), predictions["probability_covid"].to_numpy()
    called = probability >= evaluation["threshold"]
    found = {name: evaluation["metrics"][name]["value"] for name in ("pooled_auc", "sensitivity", "specificity")}
    assert found == pytest.approx(
        {
            "pooled_auc": roc_auc_score(truth, probability),
            "sensitivity": recall_score(truth, called),
            "specificity": recall_score(~truth, ~called),
        },
        abs=1e-6,
    )
    assert (evaluation["part"], evaluation["model"]) == ("out_of_fold", "tiny-chest")
    assert evaluation["counts"]["images"] == len(predictions)
    assert evaluation["counts"]["patients"] == predictions["patientid"].nunique()


@pytest.mark.parametrize("block", sorted({*FURTHER_BLOCKS} - {"gate", "former"}))
def test_every_further_block_is_there(evaluation: dict[str, Any], block: str) -> None:
    # The gate is fitted to a finished bundle; the former model is measured only where one is given.
    assert evaluation[block]


def numbers_of(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for one in value.values() for number in numbers_of(one)]
    if isinstance(value, list):
        return [number for one in value for number in numbers_of(one)]
    return [float(value)] if isinstance(value, (int, float)) else []


def test_every_number_of_the_evaluation_and_of_the_manifest_is_finite(
    evaluation: dict[str, Any], manifest: dict[str, Any], built: Built
) -> None:
    for content in (evaluation, manifest):
        found = numbers_of(content)
        assert len(found) > 50
        assert np.isfinite(found).all()
    assert "NaN" not in (built.folder / "evaluation.json").read_text(encoding="utf-8")


def held_out(images: pd.DataFrame) -> pd.DataFrame:
    return images[images["site"].isin(["S00", "S01"]) | (images["source"] == "nih")]


def test_hospitals_are_judged_on_typical_images_and_negatives_of_patients_not_known_to_be_ill(
    evaluation: dict[str, Any], images: pd.DataFrame
) -> None:
    block, held = evaluation["hospitals"], held_out(images)
    typical = held["appearance"] == "typical"
    negative = (held["appearance"] == "negative") & ~held["known_positive"].astype(bool)
    assert (block["images"], block["covid"]) == ((typical | negative).sum(), typical.sum()) == (20 + 18, 20)
    assert block["patients"] == held.loc[typical | negative, "group"].nunique()
    assert [one["site"] for one in block["groups"]] == ["S00", "S01"]
    sizes = [one["roc_auc"]["n"] for one in block["groups"]]
    assert sizes == [19, 19]


def test_kinds_of_images_of_the_left_out_collection_are_counted(
    evaluation: dict[str, Any], images: pd.DataFrame
) -> None:
    held = held_out(images)
    counts = {row["kind"]: row["images"] for row in evaluation["strangers"]}
    assert counts == {"NIH, verified normal": 6, "NIH, No Finding": 4, "NIH, pneumonia": 4}
    assert sum(counts.values()) == (held["source"] == "nih").sum()


def test_the_opacity_map_is_judged_on_the_images_with_boxes(evaluation: dict[str, Any], images: pd.DataFrame) -> None:
    block = evaluation["opacity_map"]
    boxed = held_out(images).query("source == 'siim' and opacities != ''")
    assert (block["images"], block["patients"]) == (len(boxed), boxed["group"].nunique())
    assert block["images"] == 2 * (10 + 3 + 3)
    for name in ("pointing_game", "dice", "share_error"):
        assert 0 <= block[name]["value"] <= 1


def test_harmless_changes_are_tried_on_the_images_that_hospitals_are_judged_on(evaluation: dict[str, Any]) -> None:
    block = evaluation["robustness"]
    assert block["images"] == evaluation["hospitals"]["images"]  # fewer than 60 of each class: all of them
    assert block["sensitivity"] == pytest.approx(evaluation["hospitals"]["sensitivity"]["value"], abs=0.06)
    changes = {row["change"]: row for row in block["changes"]}
    assert len(changes) == len(block["changes"]) >= 10
    assert changes["two arrows drawn in"]["mean_difference"] > 0
    for row in block["changes"]:
        assert 0 <= row["flipped"] <= 1
        assert abs(row["sensitivity"]) <= 1


def test_the_first_repetition_is_the_evaluation_itself(evaluation: dict[str, Any]) -> None:
    assert [row["seed"] for row in evaluation["seeds"]] == [0, 1, 2]
    first = evaluation["seeds"][0]
    for name in ("roc_auc", "within_source_auc", "sensitivity", "specificity", "balanced_accuracy"):
        assert first[name] == pytest.approx(evaluation["metrics"][name]["value"], abs=1e-9)
        mean = np.mean([row[name] for row in evaluation["seeds"]])
        assert evaluation["seed_means"][name]["mean"] == pytest.approx(mean)


def test_the_lungs_are_measured_on_the_images_that_have_a_mask(
    evaluation: dict[str, Any], predictions: pd.DataFrame
) -> None:
    masked = predictions[np.arange(len(predictions)) % 3 > 0]
    block = evaluation["lungs"]
    assert (block["films"], block["patients"]) == (len(masked), masked["patientid"].nunique())
    assert (block["n_covid"], block["n_non_covid"]) == (is_covid(masked).sum(), (~is_covid(masked)).sum())
    seen = {block[name]["roc_auc"]["value"] for name in ("whole", "lungs_only", "lungs_out")}
    assert len(seen) == 3


def test_both_sources_were_left_out(evaluation: dict[str, Any], predictions: pd.DataFrame) -> None:
    left_out = evaluation["left_out_sources"]["sources"]
    assert {row["source"]: row["films"] for row in left_out} == predictions["source"].value_counts().to_dict()


def test_the_original_protocol_took_the_erect_and_the_bedside_images(evaluation: dict[str, Any], built: Built) -> None:
    block = evaluation["original_protocol"]
    views = read_split(built.materials.dataset)["view"]
    assert (block["repetitions"], block["images"]) == (20, int(views.isin(["PA", "AP"]).sum()))
    assert block["balanced_accuracy"]["lowest"] <= block["balanced_accuracy"]["mean"]


def test_no_image_is_called_one_thing_and_decided_another(manifest: dict[str, Any], evaluation: dict[str, Any]) -> None:
    band = manifest["three_way"]
    assert band["lower"] <= manifest["threshold"]["value"] <= band["upper"]
    assert (evaluation["three_way"]["lower"], evaluation["three_way"]["upper"]) == (band["lower"], band["upper"])
    assert manifest["threshold"]["value"] == evaluation["threshold"] == evaluation["operating_point"]["value"]


def test_the_bundle_records_what_it_was_made_from(manifest: dict[str, Any], built: Built, images: pd.DataFrame) -> None:
    table = read_split(built.materials.dataset)
    dataset = manifest["training"]["dataset"]
    assert dataset["lung_masks"] == (np.arange(len(table)) % 3 > 0).sum()
    assert {row["label"]: row["images"] for row in dataset["counts"]} == table["label"].value_counts().to_dict()
    assert [row["label"] for row in dataset["counts"]] == list(CLASSES)
    collected = images.loc[images["source"] != "cohort", "source"].value_counts()
    assert sorted(row["images"] for row in dataset["collections"]) == sorted(collected)
    assert manifest["training"]["recipe"] == json.loads(json.dumps(RECIPE.to_json()))
    assert manifest["training"]["runtime"]["threads"] == THREADS
    assert [row["name"] for row in manifest["training"]["networks"]] == [network.name for network in NETWORKS]
    assert manifest["training"]["networks"][0]["images"] == collected.sum()
    assert manifest["training"]["networks"][1]["images"] < collected.sum() - 60
    assert manifest["preparation"]["size"] == SIZE
    assert any("SIIM" in name and "non-commercial" in licence for name, licence in manifest["licences"].items())
    assert "non-commercial" in manifest["licences"]["model"]


def test_litert_and_keras_agree(manifest: dict[str, Any], predictions: pd.DataFrame) -> None:
    assert manifest["parity"]["films"] == min(100, len(predictions))
    assert manifest["parity"]["max_abs_difference"] < 1e-4


def prepared(path: Path) -> np.ndarray:
    """Squashed to a square and stretched from the first to the last percentile but one, with Pillow and NumPy."""
    with Image.open(path) as image:
        grey = Image.fromarray((np.asarray(image.convert("L")) / np.float32(255)).astype(np.float32))
    small = np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    low, high = np.percentile(small, [1, 99])
    return np.rint(np.clip((small - low) / (high - low), 0, 1) * 255).astype(np.float32)


def test_the_served_model_answers_as_keras_does(built: Built, manifest: dict[str, Any]) -> None:
    predictor, model = Predictor(load_bundle(built.folder)), load_trained(built.folder / "model.keras")
    for path in sorted((built.materials.external[0] / "images").iterdir())[:4]:
        found = predictor.predict(decode_file(path))
        answers, _, maps = (np.asarray(one)[0] for one in model(prepared(path)[None, ..., None]))
        assert answers.shape == (3 + RECIPE.members,)
        assert found.probability_covid == pytest.approx(calibrated(answers[:1], manifest)[0], abs=1e-3)
        assert found.probability_pattern == pytest.approx(answers[1], abs=1e-3)
        np.testing.assert_allclose(found.lungs, maps[..., 0], atol=1e-3)
        np.testing.assert_allclose(found.opacities, maps[..., 1], atol=1e-3)
        low, high = np.quantile(calibrated(answers[3:], manifest), [0.025, 0.975])
        assert found.spread == pytest.approx((low, high), abs=1e-3)
        above = found.opacities > manifest["opacity_threshold"]
        assert found.affected == pytest.approx((found.lungs * above).sum() / found.lungs.sum(), abs=1e-6)
        if found.label == "covid":
            assert found.pattern == "covid"
        else:
            assert found.pattern == ("other" if answers[1] >= manifest["pattern_threshold"] else "none")
        assert found.heat.shape == found.opacities.shape == (4, 4)
        assert np.isfinite(found.heat).all()


def test_external_images_are_counted_as_the_served_model_calls_them(built: Built, evaluation: dict[str, Any]) -> None:
    predictor = Predictor(load_bundle(built.folder))
    assert list(evaluation["external"]) == ["far", "farther"]
    for name, place in zip(("far", "farther"), built.materials.external, strict=True):
        table = pd.read_csv(place / "labels.csv", keep_default_na=False)
        called = np.array(
            [
                predictor.predict(decode_file(place / "images" / one)).probability_covid >= evaluation["threshold"]
                for one in table["filename"]
            ]
        )
        block = evaluation["external"][name]
        assert block["images"] == len(table)
        findings = table["finding"].replace("", "not stated")
        assert {finding: (entry["n"], entry["called_covid"]) for finding, entry in block["by_finding"].items()} == {
            one: (int((findings == one).sum()), int(called[findings == one].sum())) for one in set(findings)
        }


def test_the_history_holds_the_epochs_of_the_network_and_of_the_lung_map(built: Built, chest_run: MadeRun) -> None:
    history = pd.read_csv(built.folder / "history.csv")
    assert history["stage"].tolist() == ["pretraining"] * 2 + ["lungs"] * 2
    assert history["epoch"].tolist() == [1, 2, 1, 2]
    trained = pd.read_csv(chest_run.run.folder / "served" / "history.csv")
    assert history["loss"].tolist()[:2] == pytest.approx(trained["loss"].tolist(), rel=1e-4)
    assert history["loss"].iloc[3] < history["loss"].iloc[2]


def test_the_card_has_every_section_and_the_figures_of_the_evaluation(built: Built, evaluation: dict[str, Any]) -> None:
    sections = card_sections((built.folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert {"Model", "Intended use", "Training data", "Training", "Evaluation", "Beyond one number"} <= set(sections)
    assert {"Limitations", "Licences"} <= set(sections)
    area = evaluation["metrics"]["roc_auc"]
    assert f"| {area['value']:.2f} | {area['lower']:.2f} to {area['upper']:.2f} |" in sections["Evaluation"]
    for title in (
        "hospitals it has never seen",
        "Harmless changes",
        "opacity map",
        "without a pixel",
        "Three-way decision",
    ):
        assert title in sections["Beyond one number"]
    for network in NETWORKS:
        assert f"| {network.name} |" in sections["Training data"]
    assert "SIIM" in sections["Licences"]


def test_the_build_prints_each_step_before_it_begins(built: Built) -> None:
    order = [
        "lung map",
        "as the network sees them",
        "never saw",
        "cross-validation",
        "repetitions",
        "export",
        "external",
    ]
    places = [next(place for place, line in enumerate(built.lines) if word in line) for word in order]
    assert places == sorted(places)


def write_former(folder: Path, images: pd.DataFrame) -> tuple[Path, dict[str, float]]:
    """What another model printed of the collections' images, and its evaluation."""
    folder.mkdir()
    probability = {name: round(((index * 37) % 100) / 100, 2) for index, name in enumerate(images["name"])}
    lines = [
        {"file": f"somewhere/{name}", "status": "ok", "probability_covid": value, "threshold": FORMER_THRESHOLD}
        for name, value in probability.items()
    ]
    lines.append({"file": "refused.png", "status": "refused"})
    (folder / "predictions.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    area = {
        "value": 0.7,
        "lower": 0.6,
        "upper": 0.8,
        "method": "patient bootstrap",
        "n": 50,
        "undefined": 0,
        "note": None,
    }
    found = {
        "model": "earlier",
        "metrics": {"roc_auc": area, "within_source_auc": area, "ece": area},
        "left_out_sources": {"within_source_auc": area},
        "external": {},
    }
    (folder / "evaluation.json").write_text(json.dumps(found), encoding="utf-8")
    return folder, probability


@pytest.mark.slow
def test_the_same_run_gives_the_same_model_and_a_former_model_stands_beside_it(
    built: Built, images: pd.DataFrame, evaluation: dict[str, Any], tmp_path: Path
) -> None:
    former, probability = write_former(tmp_path / "former", images)
    with tiny_networks():
        again = build(
            replace(built.materials, external=(), former=former), tmp_path / "tiny-chest", lambda _: None
        ).folder
    assert (again / "predictions.csv").read_bytes() == (built.folder / "predictions.csv").read_bytes()
    with np.load(built.folder / "head.npz") as first, np.load(again / "head.npz") as second:
        assert set(first) == set(second)
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    found = read_evaluation(again / "evaluation.json")
    assert "external" not in found
    assert found["former"]["model"] == "earlier"
    held = held_out(images)
    clear = (held["appearance"] == "negative") & ~held["known_positive"].astype(bool)
    typical = held[held["appearance"] == "typical"]["name"].map(probability)
    negative = held[clear]["name"].map(probability)
    block = found["hospitals"]["former"]
    assert block["sensitivity"]["value"] == pytest.approx((typical >= FORMER_THRESHOLD).mean())
    assert block["specificity"]["value"] == pytest.approx((negative < FORMER_THRESHOLD).mean())
    pneumonia = held[(held["source"] == "nih") & (held["finding"] == "Pneumonia")]["name"].map(probability)
    (row,) = [row for row in found["strangers"] if row["kind"] == "NIH, pneumonia"]
    assert row["former"]["value"] == pytest.approx((pneumonia >= FORMER_THRESHOLD).mean())
    ours = {name: value for name, value in found["hospitals"].items() if name != "former"}
    assert ours == evaluation["hospitals"]


@pytest.fixture
def own(built: Built, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may change."""
    return Path(shutil.copytree(built.folder, tmp_path / "models" / "tiny-chest"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def figures_of(value: Any) -> Any:
    """Numbers rounded: `predictions.csv` keeps eight digits of each probability."""
    if isinstance(value, dict):
        return {name: figures_of(one) for name, one in value.items() if name != "created"}
    if isinstance(value, list):
        return [figures_of(one) for one in value]
    return pytest.approx(value, abs=1e-6) if isinstance(value, float) else value


def test_evaluating_a_bundle_again_changes_nothing_but_the_date(own: Path, built: Built) -> None:
    before = contents(own)
    found = evaluate_bundle(own, (), built.materials.dataset, collection=built.materials.collection)
    after = contents(own)
    assert found == read_json(own / "evaluation.json", EvaluationError)
    former = json.loads(before["evaluation.json"])
    assert figures_of(former) == {name: value for name, value in found.items() if name != "created"}
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"evaluation.json", "bundle.json"}
    assert set(after) == set(before)
    load_bundle(own)


def test_a_bundle_evaluated_with_other_external_images_has_those_alone(own: Path, built: Built) -> None:
    found = evaluate_bundle(own, [built.materials.external[1]])
    former = json.loads((own / "evaluation.json").read_text(encoding="utf-8"))["external"]
    assert list(found["external"]) == ["farther"] == list(former)
    card = (own / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| farther |" in card
    assert "| far |" not in card


def test_a_bundle_with_an_altered_file_is_not_evaluated(own: Path) -> None:
    table = pd.read_csv(own / "predictions.csv")
    table.assign(probability_covid=is_covid(table).astype(float)).to_csv(own / "predictions.csv", index=False)
    before = contents(own)
    with pytest.raises(BundleError, match=r"predictions\.csv was altered"):
        evaluate_bundle(own)
    assert contents(own) == before


def refused(materials: Materials, out: Path, error: type[Exception], sentence: str) -> None:
    """A build that must not even begin."""
    lines: list[str] = []
    with tiny_networks(), pytest.raises(error, match=sentence):
        build(materials, out, lines.append)
    assert lines == []
    assert not out.exists()


def test_a_build_without_a_run_is_refused(built: Built, tmp_path: Path) -> None:
    refused(
        replace(built.materials, run=tmp_path / "none"), tmp_path / "out", TrainingError, r"recipe\.json is missing"
    )


def test_a_run_whose_network_is_not_trained_is_refused(built: Built, tmp_path: Path) -> None:
    for name in ("recipe.json", "images.csv"):
        (tmp_path / "run").mkdir(exist_ok=True)
        shutil.copy(built.materials.run / name, tmp_path / "run" / name)
    refused(replace(built.materials, run=tmp_path / "run"), tmp_path / "out", TrainingError, "run `pretrain` first")


def test_a_run_beside_another_dataset_is_refused(built: Built, tiny_dataset: Path, tmp_path: Path) -> None:
    other = replace(built.materials, dataset=tiny_dataset, folds=tmp_path / "folds.csv")
    refused(other, tmp_path / "out", TrainingError, "was trained beside another dataset")


def test_a_build_without_masks_is_refused(built: Built, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(replace(built.materials, annotations=tmp_path / "empty"), tmp_path / "out", DatasetError, "no lung masks")


def test_masks_that_all_lie_in_one_fold_or_on_no_image_are_refused(built: Built, tmp_path: Path) -> None:
    materials = built.materials
    folds = read_folds(materials.folds, materials.dataset)
    names = folds.loc[folds["fold"] == 3, "filename"].tolist()
    alone = replace(materials, annotations=write_masks(tmp_path / "alone", names))
    refused(alone, tmp_path / "out", TrainingError, "in fold 3")
    strange = replace(materials, annotations=write_masks(tmp_path / "strange", ["one.png", "other.png"]))
    refused(strange, tmp_path / "out", TrainingError, "None of the masks")


def test_external_folders_that_are_missing_or_have_one_name_are_refused(built: Built, tmp_path: Path) -> None:
    materials = built.materials
    missing = replace(materials, external=[*materials.external, tmp_path / "other" / "nearby"])
    refused(missing, tmp_path / "out", DatasetError, "labels.csv")
    twice = replace(materials, external=[materials.external[0], materials.external[0]])
    refused(twice, tmp_path / "out", DatasetError, "different names")


def test_a_dataset_that_was_not_prepared_is_refused(built: Built, tmp_path: Path) -> None:
    nowhere = replace(built.materials, dataset=tmp_path / "nowhere", folds=tmp_path / "folds.csv")
    refused(nowhere, tmp_path / "out", DatasetError, r"split\.csv is missing")
    assert not (tmp_path / "folds.csv").exists()


def test_folds_of_another_dataset_are_refused(built: Built, tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("filename,fold\nother.png,0\n", encoding="utf-8")
    other = replace(built.materials, folds=tmp_path / "folds.csv")
    refused(other, tmp_path / "out", DatasetError, "does not name the films")


def test_a_folder_that_holds_something_else_is_refused_before_anything_is_computed(
    built: Built, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    lines: list[str] = []
    with pytest.raises(BundleError, match="not a model bundle"):
        build(built.materials, tmp_path, lines.append)
    assert lines == []
    assert (tmp_path / "letter.txt").read_text(encoding="utf-8") == "dear"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("predictions.jsonl", '{"file": "a.png", "status": "ok"}'), "does not hold what `predict --json` prints"),
        (("evaluation.json", '{"model": "earlier"}'), "no evaluation of a model to compare with"),
        (("evaluation.json", None), r"evaluation\.json is missing"),
    ],
)
def test_a_former_model_that_cannot_be_read_is_refused_before_anything_is_computed(
    built: Built, images: pd.DataFrame, tmp_path: Path, change: tuple[str, str | None], sentence: str
) -> None:
    former, _ = write_former(tmp_path / "former", images)
    name, content = change
    (former / name).unlink()
    if content is not None:
        (former / name).write_text(content, encoding="utf-8")
    refused(replace(built.materials, former=former), tmp_path / "out", TrainingError, sentence)
