"""A whole build on a synthetic dataset: small pictures, a tiny backbone, a few epochs for the lung maps."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import recall_score, roc_auc_score

pytest.importorskip("tensorflow", reason="training needs requirements-train.txt")

from covid_core.build import Materials, auxiliary_films, build
from covid_core.card_text import card_sections
from covid_core.data.folds import read_folds
from covid_core.data.lungs import DRAWN_NAME, ESTIMATED_NAME
from covid_core.data.prepare import prepare_dataset, read_split, split_image_path
from covid_core.errors import BundleError, DatasetError, EvaluationError, TrainingError
from covid_core.evaluation.report import FURTHER_BLOCKS, read_evaluation
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.images.decode import decode_file
from covid_core.images.preparation import Preparation
from covid_core.inference.bundle import load_bundle
from covid_core.inference.predictor import Predictor
from covid_core.labels import CLASSES
from covid_core.storage import read_json
from covid_core.training.backbones import BACKBONES
from covid_core.training.lung_reader import LungRecipe
from covid_core.workflows import evaluate_bundle
from tests.fake_bundle import THREADS
from tests.phantom import phantom_film
from tests.training.tiny import LUNG_TAPS, tiny_lung_backbone

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = 64
RECIPE = LungRecipe(
    weights="none",
    threads=THREADS,
    preparation=Preparation(size=SIZE, border_crop=0.0),
    taps=LUNG_TAPS,
    lung_epochs=2,
    auxiliary_weight=0.1,
)


def lungs_of(index: int, size: int = 160) -> Image.Image:
    """A mask: two ellipses whose height differs from film to film."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    height = 0.25 + 0.02 * (index % 5)
    inside = [((columns - centre) / 0.14) ** 2 + ((rows + 0.05) / height) ** 2 < 1 for centre in (-0.2, 0.2)]
    return Image.fromarray(np.where(inside[0] | inside[1], 255, 0).astype(np.uint8))


def write_masks(folder: Path, filenames: list[str]) -> Path:
    """No mask of each third film, beginning with the first; drawn ones of those behind them, estimated ones of the others."""
    (folder / ESTIMATED_NAME).mkdir(parents=True)
    (folder / "drawn").mkdir()
    for index, name in enumerate(filenames):
        if index % 3 == 1:
            lungs_of(index).save(folder / "drawn" / f"{Path(name).stem}.png")
        elif index % 3 == 2:
            lungs_of(index).save(folder / ESTIMATED_NAME / f"{Path(name).stem}_mask.png")
    shutil.make_archive(str(folder / Path(DRAWN_NAME).stem), "zip", folder / "drawn")
    return folder


def write_labelled(folder: Path, labels: list[str], seed: int) -> Path:
    """A folder of labelled films; those without a label show something that is not said."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = []
    for index, label in enumerate(labels):
        film = phantom_film(rng, label or "non_covid", 96)
        Image.fromarray(film).save(folder / "images" / f"{folder.name}-{index}.png")
        finding = {"covid": "COVID-19", "non_covid": "No Finding", "": ""}[label]
        rows.append((f"{folder.name}-{index}.png", finding, label, f"{folder.name}.org"))
    table = pd.DataFrame(rows, columns=["filename", "finding", "label", "source"])
    table.to_csv(folder / "labels.csv", index=False)
    return folder


def write_materials(folder: Path, phantom: Path) -> Materials:
    """Everything a build reads. Of the phantom's sources none has both classes, so there are two others here, by patient."""
    prepare_dataset(phantom, folder / "dataset")
    table = pd.read_csv(folder / "dataset" / "split.csv", dtype="str")
    number = pd.to_numeric(table["patientid"], errors="coerce").fillna(0).astype(int)
    table["source"] = np.where(number // 2 % 2, "a.org", "b.org")
    table.to_csv(folder / "dataset" / "split.csv", index=False)
    return Materials(
        dataset=folder / "dataset",
        annotations=write_masks(folder / "annotations", table["filename"].tolist()),
        folds=folder / "folds.csv",
        auxiliary=write_labelled(folder / "near", ["covid", "non_covid", "non_covid"] * 4, seed=1),
        external=[
            write_labelled(folder / "far", ["covid"] * 4 + ["non_covid"] * 5 + [""] * 2, seed=2),
            write_labelled(folder / "farther", ["non_covid"] * 3, seed=3),
        ],
    )


@pytest.fixture(scope="module", autouse=True)
def _tiny_backbone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "mobilenetv2", tiny_lung_backbone())
        yield


@pytest.fixture(scope="module")
def materials(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Materials:
    """Tests share them and must not change them."""
    return write_materials(tmp_path_factory.mktemp("materials"), phantom_dataset)


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the build says while it goes on."""
    return []


@pytest.fixture(scope="module")
def folder(materials: Materials, said: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle. Tests share it and must not change it."""
    out = tmp_path_factory.mktemp("models") / "tiny-lungs"
    return build(materials, out, RECIPE, said.append).folder


@pytest.fixture(scope="module")
def evaluation(folder: Path) -> dict[str, Any]:
    return read_evaluation(folder / "evaluation.json")


@pytest.fixture(scope="module")
def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv", dtype={"patientid": "str", "group": "str"})


@pytest.fixture(scope="module")
def manifest(folder: Path) -> dict[str, Any]:
    return load_bundle(folder).manifest


def logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def calibrated(raw: np.ndarray, manifest: dict[str, Any]) -> np.ndarray:
    """Platt's curve of the manifest, as the paper writes it."""
    curve = manifest["calibration"]
    assert curve["method"] == "platt"
    return logistic(curve["slope"] * np.log(raw / (1 - raw)) + curve["intercept"])


def is_covid(table: pd.DataFrame) -> np.ndarray:
    return (table["label"] == "covid").to_numpy()


def test_every_film_is_predicted_once_in_its_fold(predictions: pd.DataFrame, materials: Materials) -> None:
    table = read_split(materials.dataset)
    assert predictions["filename"].tolist() == table["filename"].tolist()
    expected = table[["filename"]].merge(read_folds(materials.folds, materials.dataset), on="filename")
    assert predictions["fold"].tolist() == expected["fold"].tolist()
    assert set(predictions["fold"]) == set(range(5))
    assert set(predictions["part"]) == {OUT_OF_FOLD} == {"out_of_fold"}
    for name in ("patientid", "group", "label", "source"):
        assert predictions[name].tolist() == table[name].tolist()


def test_the_predictions_repeat_no_more_of_the_metadata_than_the_figures_need(predictions: pd.DataFrame) -> None:
    needed = {"filename", "patientid", "label", "part", "group", "source", "fold"}
    assert set(predictions.columns) == {*needed, "probability_raw", "probability_covid"}


def test_calibration_keeps_the_order_of_the_films_of_a_fold(predictions: pd.DataFrame) -> None:
    for _, films in predictions.groupby("fold"):
        by_raw = films.sort_values("probability_raw")["probability_covid"]
        assert by_raw.is_monotonic_increasing
        assert by_raw.between(0, 1).all()
        assert by_raw.min() < by_raw.max()


def test_the_evaluation_is_that_of_the_predictions(evaluation: dict[str, Any], predictions: pd.DataFrame) -> None:
    truth, probability = is_covid(predictions), predictions["probability_covid"]
    called = probability >= evaluation["threshold"]
    found = {name: evaluation["metrics"][name]["value"] for name in ("roc_auc", "sensitivity", "specificity")}
    assert found == pytest.approx(
        {
            "roc_auc": roc_auc_score(truth, probability),
            "sensitivity": recall_score(truth, called),
            "specificity": recall_score(~truth, ~called),
        },
        abs=1e-6,
    )
    assert evaluation["part"] == "out_of_fold"
    assert evaluation["model"] == "tiny-lungs"
    assert evaluation["counts"]["images"] == len(predictions)
    assert evaluation["counts"]["patients"] == predictions["patientid"].nunique()


@pytest.mark.parametrize("block", sorted({*FURTHER_BLOCKS} - {"gate"}))  # the gate is fitted to a finished bundle
def test_every_further_block_is_there(evaluation: dict[str, Any], block: str) -> None:
    assert evaluation[block]


def test_the_first_repetition_is_the_evaluation_itself(evaluation: dict[str, Any]) -> None:
    assert [row["seed"] for row in evaluation["seeds"]] == [0, 1, 2]
    first = evaluation["seeds"][0]
    for name in ("roc_auc", "within_source_auc", "sensitivity", "specificity", "balanced_accuracy"):
        assert first[name] == pytest.approx(evaluation["metrics"][name]["value"], abs=1e-9)
        mean = np.mean([row[name] for row in evaluation["seeds"]])
        assert evaluation["seed_means"][name]["mean"] == pytest.approx(mean)


def test_the_lungs_are_measured_on_the_films_that_have_a_mask(
    evaluation: dict[str, Any], predictions: pd.DataFrame
) -> None:
    films = predictions[np.arange(len(predictions)) % 3 > 0]
    block = evaluation["lungs"]
    assert (block["films"], block["patients"]) == (len(films), films["patientid"].nunique())
    assert (block["n_covid"], block["n_non_covid"]) == (is_covid(films).sum(), (~is_covid(films)).sum())
    whole = roc_auc_score(is_covid(films), films["probability_raw"])
    assert block["whole"]["roc_auc"]["value"] == pytest.approx(whole, abs=1e-6)
    seen = {block[name]["roc_auc"]["value"] for name in ("whole", "lungs_only", "lungs_out")}
    assert len(seen) == 3


def test_both_sources_were_left_out(evaluation: dict[str, Any], predictions: pd.DataFrame) -> None:
    left_out = evaluation["left_out_sources"]["sources"]
    assert {row["source"] for row in left_out} == {"a.org", "b.org"} == {row["source"] for row in evaluation["sources"]}
    assert {row["source"]: row["films"] for row in left_out} == predictions["source"].value_counts().to_dict()


def test_the_original_protocol_took_the_erect_and_the_bedside_films(
    evaluation: dict[str, Any], materials: Materials
) -> None:
    block = evaluation["original_protocol"]
    assert (block["repetitions"], block["images"]) == (
        20,
        int(read_split(materials.dataset)["view"].isin(["PA", "AP"]).sum()),
    )
    assert block["balanced_accuracy"]["lowest"] <= block["balanced_accuracy"]["mean"]


def test_the_operating_point_says_what_it_has_on_the_served_scale(
    manifest: dict[str, Any], evaluation: dict[str, Any], predictions: pd.DataFrame
) -> None:
    point, truth = manifest["threshold"], is_covid(predictions)
    assert point["value"] == evaluation["threshold"]
    called = calibrated(predictions["probability_raw"].to_numpy(), manifest) >= point["value"]
    found, spared = recall_score(truth, called), recall_score(~truth, ~called)
    assert f"sensitivity {found:.3f} and specificity {spared:.3f}" in point["method"]
    assert found + spared > 1


def test_no_film_is_called_one_thing_and_decided_another(manifest: dict[str, Any], evaluation: dict[str, Any]) -> None:
    band = manifest["three_way"]
    assert band["lower"] <= manifest["threshold"]["value"] <= band["upper"]
    assert (evaluation["three_way"]["lower"], evaluation["three_way"]["upper"]) == (band["lower"], band["upper"])


def test_the_bundle_says_what_it_was_made_from(manifest: dict[str, Any], materials: Materials) -> None:
    table = read_split(materials.dataset)
    dataset = manifest["training"]["dataset"]
    assert dataset["lung_masks"] == (np.arange(len(table)) % 3 > 0).sum()
    assert dataset["auxiliary"] == {"films": 12, "covid": 4, "sources": ["near.org"], "copies_left_out": 0}
    assert {row["label"]: row["images"] for row in dataset["counts"]} == table["label"].value_counts().to_dict()
    assert [row["label"] for row in dataset["counts"]] == list(CLASSES)
    assert manifest["training"]["recipe"] == json.loads(json.dumps(RECIPE.to_json()))
    assert manifest["training"]["runtime"]["threads"] == THREADS
    assert manifest["parity"]["films"] == len(table)
    assert manifest["parity"]["max_abs_difference"] < 1e-4
    assert "near.org" in manifest["licences"]
    assert "lung masks" in manifest["licences"]


def test_the_served_model_predicts_a_film_as_keras_does(folder: Path, materials: Materials) -> None:
    from covid_core.training.export import load_trained, predict_films  # noqa: PLC0415

    bundle = load_bundle(folder)
    predictor, model = Predictor(bundle), load_trained(folder / "model.keras")
    for path in sorted((materials.external[0] / "images").iterdir())[:4]:
        found = predictor.predict(decode_file(path))
        light = Image.fromarray((np.asarray(Image.open(path)) / 255).astype(np.float32))
        grey = np.asarray(light.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        low, high = np.percentile(grey, [1, 99])
        film = np.rint(np.clip((grey - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        raw = predict_films(model, film[None])
        assert found.probability_covid == pytest.approx(calibrated(raw, bundle.manifest)[0], abs=1e-3)
        assert found.heat.shape == (4, 4)
        assert np.isfinite(found.heat).all()


def test_external_films_are_counted_as_the_served_model_calls_them(
    folder: Path, materials: Materials, evaluation: dict[str, Any]
) -> None:
    predictor = Predictor(load_bundle(folder))
    assert list(evaluation["external"]) == ["far", "farther"]
    for name, place in zip(("far", "farther"), materials.external, strict=True):
        table = pd.read_csv(place / "labels.csv", keep_default_na=False)
        called = [
            predictor.predict(decode_file(place / "images" / film)).probability_covid >= evaluation["threshold"]
            for film in table["filename"]
        ]
        block = evaluation["external"][name]
        assert block["images"] == len(table)
        told = {finding: (entry["n"], entry["called_covid"]) for finding, entry in block["by_finding"].items()}
        findings = table["finding"].replace("", "not stated")
        assert told == {
            one: (int((findings == one).sum()), int(np.sum(np.array(called)[findings == one]))) for one in set(findings)
        }
    far = evaluation["external"]["far"]["by_finding"]
    assert set(far["not stated"]) == {"n", "called_covid"}
    assert far["COVID-19"]["sensitivity"]["value"] == far["COVID-19"]["called_covid"] / 4
    assert far["No Finding"]["specificity"]["value"] == pytest.approx(1 - far["No Finding"]["called_covid"] / 5)


def test_the_history_is_the_loss_of_the_lung_map(folder: Path) -> None:
    history = pd.read_csv(folder / "history.csv")
    assert history["stage"].tolist() == ["lungs"] * 2
    assert history["epoch"].tolist() == [1, 2]
    assert history["loss"].iloc[1] < history["loss"].iloc[0]


def test_the_card_has_every_section_and_the_figures_of_the_evaluation(
    folder: Path, evaluation: dict[str, Any], manifest: dict[str, Any]
) -> None:
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    sections = card_sections(card)
    named = (
        "Model",
        "Intended use",
        "Training data",
        "Training",
        "Evaluation",
        "Beyond one number",
        "Limitations",
        "Licences",
    )
    assert set(named) <= set(sections)
    area = evaluation["metrics"]["roc_auc"]
    assert f"{area['value']:.2f} (95% CI {area['lower']:.2f} to {area['upper']:.2f}" in sections["Evaluation"]
    for title in (
        "without a pixel",
        "Source by source",
        "looking at the lungs",
        "External films",
        "Three-way decision",
    ):
        assert title in sections["Beyond one number"]
    for title in ("Calibration, before and after", "Repeated with other folds", "The original protocol"):
        assert title in sections["Beyond one number"]
    assert f"lung masks of {manifest['training']['dataset']['lung_masks']} " in sections["Training data"]
    assert "12 auxiliary films (4 covid; near.org)" in sections["Training data"]
    assert "near.org" in sections["Licences"]


def test_the_build_tells_each_step_before_it_begins(said: list[str], folder: Path) -> None:
    assert folder.is_dir()
    order = [
        "decoding",
        "frozen trunk",
        "lung map,",
        "auxiliary films (",
        "each fold",
        "cross-validation",
        "export",
        "external",
    ]
    places = [next(place for place, line in enumerate(said) if word in line) for word in order]
    assert places == sorted(places)


def test_the_same_seed_gives_the_same_model_and_predictions(folder: Path, materials: Materials, tmp_path: Path) -> None:
    again = build(replace(materials, external=()), tmp_path / "tiny-lungs", RECIPE, lambda _: None).folder
    assert (again / "predictions.csv").read_bytes() == (folder / "predictions.csv").read_bytes()
    with np.load(folder / "head.npz") as first, np.load(again / "head.npz") as second:
        assert set(first) == set(second)
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    assert "external" not in read_evaluation(again / "evaluation.json")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "models" / "tiny-lungs"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def figures_of(value: Any) -> Any:
    """Numbers rounded: `predictions.csv` keeps eight digits of each probability."""
    if isinstance(value, dict):
        return {name: figures_of(one) for name, one in value.items() if name != "created"}
    if isinstance(value, list):
        return [figures_of(one) for one in value]
    return pytest.approx(value, abs=1e-6) if isinstance(value, float) else value


def test_evaluating_a_bundle_again_changes_nothing_but_the_date(own: Path) -> None:
    before = contents(own)
    found = evaluate_bundle(own)
    after = contents(own)
    assert found == read_json(own / "evaluation.json", EvaluationError)
    former = json.loads(before["evaluation.json"])
    assert figures_of(former) == {name: value for name, value in found.items() if name != "created"}
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"evaluation.json", "bundle.json"}
    assert set(after) == set(before)
    first, second = (json.loads(files["bundle.json"]) for files in (before, after))
    assert {**first, "files": None} == {**second, "files": None}
    load_bundle(own)


def test_a_bundle_evaluated_with_other_external_films_has_those_alone(own: Path, materials: Materials) -> None:
    calls: list[tuple[int, int]] = []
    found = evaluate_bundle(own, [materials.external[1]], None, lambda done, total: calls.append((done, total)))
    former = json.loads((own / "evaluation.json").read_text(encoding="utf-8"))["external"]
    assert list(found["external"]) == ["farther"] == list(former)
    assert calls == [(1, 3), (2, 3), (3, 3)]
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


def test_a_bundle_whose_external_films_are_missing_stays_as_it_was(own: Path, tmp_path: Path) -> None:
    before = contents(own)
    with pytest.raises(DatasetError, match=r"labels\.csv"):
        evaluate_bundle(own, [tmp_path / "nowhere"])
    assert contents(own) == before


def refused(materials: Materials, out: Path, error: type[Exception], sentence: str) -> None:
    """A build that must not even begin to train."""
    said: list[str] = []
    with pytest.raises(error, match=sentence):
        build(materials, out, RECIPE, said.append)
    assert said == []
    assert not out.exists()


def test_a_build_without_masks_is_refused(materials: Materials, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(replace(materials, annotations=tmp_path / "empty"), tmp_path / "out", DatasetError, "no lung masks")


@pytest.mark.usefixtures("folder")  # the build makes the folds
def test_masks_that_all_lie_in_one_fold_or_on_no_film_are_refused(materials: Materials, tmp_path: Path) -> None:
    folds = read_folds(materials.folds, materials.dataset)
    names = folds.loc[folds["fold"] == 3, "filename"].tolist()
    alone = replace(materials, annotations=write_masks(tmp_path / "alone", names))
    refused(alone, tmp_path / "out", TrainingError, "in fold 3")
    strange = replace(materials, annotations=write_masks(tmp_path / "strange", ["one.png", "other.png"]))
    refused(strange, tmp_path / "out", TrainingError, "None of the masks")
    beside = tmp_path / "other" / "far"
    refused(replace(materials, external=[*materials.external, beside]), tmp_path / "out", DatasetError, "labels.csv")


def test_a_dataset_that_was_not_prepared_is_refused(materials: Materials, tmp_path: Path) -> None:
    nowhere = replace(materials, dataset=tmp_path / "nowhere", folds=tmp_path / "folds.csv")
    refused(nowhere, tmp_path / "out", DatasetError, r"split\.csv is missing")
    assert not (tmp_path / "folds.csv").exists()


def test_folds_of_another_dataset_are_refused(materials: Materials, tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("filename,fold\nother.png,0\n", encoding="utf-8")
    refused(replace(materials, folds=tmp_path / "folds.csv"), tmp_path / "out", DatasetError, "does not name the films")


def test_two_external_folders_of_one_name_are_refused(materials: Materials, tmp_path: Path) -> None:
    twice = [materials.external[0], materials.external[0]]
    refused(replace(materials, external=twice), tmp_path / "out", DatasetError, "different names")


def test_a_folder_that_holds_something_else_is_refused_before_any_training(
    materials: Materials, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    said: list[str] = []
    with pytest.raises(BundleError, match="not a model bundle"):
        build(materials, tmp_path, RECIPE, said.append)
    assert said == []
    assert (tmp_path / "letter.txt").read_text(encoding="utf-8") == "dear"


def test_auxiliary_films_without_a_label_or_that_are_copies_are_not_fitted_on(
    materials: Materials, tmp_path: Path
) -> None:
    assert materials.auxiliary is not None
    folder = tmp_path / "near"
    shutil.copytree(materials.auxiliary, folder)
    table = pd.read_csv(folder / "labels.csv", dtype="str", keep_default_na=False)
    table.loc[0, "label"] = ""
    table.to_csv(folder / "labels.csv", index=False)
    copied = split_image_path(materials.dataset, read_split(materials.dataset).iloc[0])
    shutil.copy(copied, folder / "images" / table.loc[1, "filename"])
    found = auxiliary_films(materials.dataset, folder, materials.external)
    assert found.copies == 1
    assert set(found.table["filename"]) == set(table["filename"]) - {table.loc[0, "filename"], table.loc[1, "filename"]}
