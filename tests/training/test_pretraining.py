"""Training of the chest networks: what each may see, what each label counts, and that a stopped run goes on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from covid_core.dataset.collections import SOURCES
from covid_core.errors import DatasetError, TrainingError
from covid_core.images.preprocess import Preparation
from covid_core.training import pretraining
from covid_core.training.chest_network import Batches, build_network
from covid_core.training.chest_recipe import NETWORKS, SERVED, ChestRecipe, LeftOut
from covid_core.training.pretraining import ChestRun, load_network, open_run, pretrain, training_weights
from tests.made_up_collections import BOX, SIDE
from tests.training.chest import COPY_OF_AN_EXTERNAL_IMAGE, COPY_OF_THE_DATASET, RECIPE, SIZE, tiny_networks
from tests.training.chest import NETWORKS as TWO_NETWORKS
from tests.training.conftest import MadeRun

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ENDS_WITH_OPEN_FILES = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
"""A run that is stopped leaves its files open, as a process that is killed does."""
SITES = ("S00", "S01", "S03", "S04", "S06", "S08", "")


def table_of(count: int = 600, seed: int = 0) -> pd.DataFrame:
    """Images of every source, site and appearance; patients of SIIM have images at one to three sites."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        source = str(rng.choice(["cohort", *SOURCES], p=[0.1, 0.6, 0.1, 0.07, 0.06, 0.07]))
        row = {
            "source": source,
            "group": f"{source}-{number}",
            "site": "",
            "appearance": "",
            "pattern": np.nan,
            "covid": np.nan,
        }
        if source == "siim":
            row["group"] = str(rng.integers(120))
            row["site"] = str(rng.choice(SITES))
            row["appearance"] = str(
                rng.choice(["typical", "negative", "indeterminate", "atypical"], p=[0.6, 0.2, 0.1, 0.1])
            )
            row["pattern"] = float(row["appearance"] != "negative")
            row["covid"] = {"typical": 1.0, "atypical": 0.0}.get(row["appearance"], np.nan)
        elif source in {"nih", "pakistan", "guangzhou"}:
            row["pattern"] = float(rng.random() < 0.5)
            row["covid"] = 0.0 if row["pattern"] else np.nan
        else:
            row["covid"] = 1.0 if source == "hannover" else float(rng.random() < 0.5)
        rows.append(row)
    return pd.DataFrame(rows)


def run_of(table: pd.DataFrame, recipe: ChestRecipe = RECIPE) -> ChestRun:
    return ChestRun(Path("nowhere"), table, recipe)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
@pytest.mark.parametrize("seed", range(3))
def test_a_network_never_sees_what_it_is_judged_on_nor_its_patients_nor_the_dataset(
    network: LeftOut, seed: int
) -> None:
    table = table_of(seed=seed)
    seen = run_of(table).seen_by(network)
    held = [row.site in network.sites or row.source == network.source for row in table.itertuples()]
    patients = {row.group for row, out in zip(table.itertuples(), held, strict=True) if out}
    expected = [row.source != "cohort" and row.group not in patients for row in table.itertuples()]
    assert seen.tolist() == expected
    straddling = table[~pd.Series(held) & table["group"].isin(patients)]
    assert len(straddling) > 20 or not network.sites  # so that the test tests it


def test_the_served_network_sees_every_collection_and_no_image_of_the_dataset() -> None:
    table = table_of()
    np.testing.assert_array_equal(run_of(table).seen_by(LeftOut(SERVED)), table["source"] != "cohort")


def test_every_site_and_every_collection_but_siim_is_left_out_of_one_network() -> None:
    served, *others = NETWORKS
    assert (served.name, served.sites, served.source) == ("served", (), "")
    assert sorted(site for network in others for site in network.sites) == sorted(set(SITES) - {""})
    assert sorted(network.source for network in others) == sorted(set(SOURCES) - {"siim"})
    assert len({network.name for network in NETWORKS}) == len(NETWORKS)


def test_a_label_counts_nothing_where_it_is_unknown_and_as_its_source_elsewhere() -> None:
    table = table_of()
    rows = np.random.default_rng(1).random(len(table)) < 0.8
    found = training_weights(run_of(table), rows)
    counts = {"siim": 1.0, "nih": 0.5, "pakistan": 0.5, "hannover": 0.5, "guangzhou": 0.3, "cohort": 0.0}
    expected = {name: [] for name in ("opacity", "appearance", "pattern")}
    for row, used in zip(table.itertuples(), rows, strict=True):
        count = counts[row.source] * used
        # A radiologist looked for opacities on every image of SIIM; where there is no pattern there is no opacity.
        expected["opacity"].append(count * (row.source == "siim" or row.pattern == 0))
        expected["appearance"].append(count * (row.appearance != ""))
        expected["pattern"].append(count * (not np.isnan(row.pattern)))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)
        assert 0 < np.mean(np.array(values) > 0) < 1
    assert set(found) == {"opacity", "appearance", "pattern", "covid"}


def test_both_answers_to_the_second_question_weigh_the_same_in_all() -> None:
    table = table_of()
    rows = np.random.default_rng(2).random(len(table)) < 0.7
    found = training_weights(run_of(table), rows)["covid"].astype(np.float64)
    yes, no = (table["covid"] == answer for answer in (1, 0))
    assert found[yes].sum() == pytest.approx(found[no].sum(), rel=1e-5)
    assert (found[table["covid"].isna()] == 0).all()
    assert (found[~rows] == 0).all()
    assert (found[table["source"] == "cohort"] == 0).all()
    usable = table["covid"].notna() & rows & (table["source"] != "cohort")
    counts = table["source"].map({"siim": 1.0, "nih": 0.5, "pakistan": 0.5, "hannover": 0.5, "guangzhou": 0.3})
    assert found.sum() == pytest.approx(counts[usable].sum(), rel=1e-5)
    # Within an answer a source counts as it does elsewhere.
    siim, figshare = (found[yes & usable & (table["source"] == source)] for source in ("siim", "hannover"))
    assert siim.max() == pytest.approx(siim.min()) == pytest.approx(2 * figshare[0], rel=1e-5)


def test_a_recipe_comes_back_from_its_plain_values() -> None:
    recipe = replace(RECIPE, preparation=Preparation(size=96, border_crop=0.05, high_percentile=98.0), seed=3)
    plain = json.loads(json.dumps(recipe.to_json()))
    assert (plain["backbone"], plain["preparation"]["size"]) == ("mobilenetv2", 96)
    assert ChestRecipe.from_json(plain) == recipe
    assert set(plain) == {"backbone", *ChestRecipe.__dataclass_fields__}


# From here on with the run that the tests share.


def names(table: pd.DataFrame) -> pd.Series:
    return table["path"].map(lambda path: Path(path).name)


def test_the_dataset_comes_first_and_copies_of_judged_images_are_not_there(chest_run: MadeRun) -> None:
    images = chest_run.run.images
    cohort = images["source"] == "cohort"
    record = pd.read_csv(chest_run.inputs["dataset"] / "split.csv", dtype="str")
    assert names(images)[cohort].tolist() == record["filename"].tolist()
    assert cohort.tolist() == sorted(cohort, reverse=True)
    assert images.loc[cohort, "covid"].tolist() == (record["label"] == "covid").tolist()
    assert images.loc[cohort, "finding"].tolist() == record["finding"].tolist()
    collected = {path.name for path in chest_run.inputs["collections"].rglob("*.png")}
    assert set(names(images)[~cohort]) == collected - {COPY_OF_THE_DATASET, COPY_OF_AN_EXTERNAL_IMAGE}
    (line,) = [line for line in chest_run.lines if "copies of images" in line]
    assert line == f"{len(collected) - 2} images; 2 left out as copies of images that are judged"


def test_the_inputs_are_the_images_squashed_and_stretched(chest_run: MadeRun) -> None:
    inputs = chest_run.run.array("inputs")
    paths = chest_run.run.images["path"]
    assert inputs.shape == (len(paths), SIZE, SIZE)
    for row in (0, len(paths) // 2, len(paths) - 1):
        with Image.open(paths[row]) as image:
            grey = Image.fromarray((np.asarray(image.convert("L")) / np.float32(255)).astype(np.float32))
        small = np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        low, high = np.percentile(small, [1, 99])
        expected = np.rint(np.clip((small - low) / (high - low), 0, 1) * 255)
        assert np.abs(inputs[row].astype(float) - expected).max() <= 1


def test_the_share_of_each_cell_in_a_box_is_kept_beside_the_image_and_turned_with_it(chest_run: MadeRun) -> None:
    images = chest_run.run.images
    plain, mirrored = (chest_run.run.array(f"opacities-{name}") for name in ("plain", "mirrored"))
    boxed = (images["opacities"] != "").to_numpy()
    assert plain.shape == (len(images), 4, 4)
    assert (plain[~boxed] == 0).all()
    left, top, width, height = (float(value) * 4 / SIDE for value in BOX.split(","))  # in cells
    rows = np.clip(np.minimum(np.arange(4) + 1, top + height) - np.maximum(np.arange(4), top), 0, 1)
    columns = np.clip(np.minimum(np.arange(4) + 1, left + width) - np.maximum(np.arange(4), left), 0, 1)
    np.testing.assert_allclose(plain[boxed], np.broadcast_to(np.outer(rows, columns), (boxed.sum(), 4, 4)), atol=0.13)
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])
    for copy in range(RECIPE.copies):
        moved = chest_run.run.array(f"opacities-{copy}")
        assert (moved[~boxed] == 0).all()
        assert (moved[boxed].sum(axis=(1, 2)) > 0).all()
        assert not np.array_equal(moved, plain)


def test_the_frozen_blocks_see_the_image_its_mirror_image_and_each_copy(chest_run: MadeRun) -> None:
    run = chest_run.run
    with tiny_networks():
        network = load_network(run, TWO_NETWORKS[0])
    inputs = run.array("inputs")
    for name, step in (("plain", 1), ("mirrored", -1)):
        expected = np.asarray(network.lower(inputs[:5, :, ::step, None].astype(np.float32)))
        assert expected.std() > 0.1
        np.testing.assert_allclose(run.array(f"lower-{name}")[:5], expected, atol=2e-2, rtol=2e-3)
    assert not np.array_equal(run.array("lower-0"), run.array("lower-1"))


def test_every_network_is_trained_for_its_epochs_and_the_loss_falls(chest_run: MadeRun) -> None:
    for network in TWO_NETWORKS:
        history = pd.read_csv(chest_run.run.folder / network.name / "history.csv")
        assert history["epoch"].tolist() == [0, 1]
        assert history["loss"].iloc[1] < history["loss"].iloc[0]
        count = int(chest_run.run.seen_by(network).sum())
        assert f"network {network.name}: {count} images, 2 epochs" in chest_run.lines
    assert sorted(path.name for path in (chest_run.run.folder / SERVED).iterdir()) == [
        "history.csv",
        "network.weights.h5",
    ]


def weights_of(run: ChestRun, network: LeftOut) -> list[np.ndarray]:
    with tiny_networks():
        return [np.asarray(one) for one in load_network(run, network).upper.get_weights()]


def test_each_network_learned_something_of_its_own_and_the_frozen_blocks_are_shared(chest_run: MadeRun) -> None:
    served, other = (weights_of(chest_run.run, network) for network in TWO_NETWORKS)
    assert [one.shape for one in served] == [one.shape for one in other]
    assert any(not np.array_equal(one, two) for one, two in zip(served, other, strict=True))


def test_a_run_that_is_opened_has_the_size_it_was_made_with(chest_run: MadeRun) -> None:
    opened = open_run(chest_run.run.folder)
    assert opened.recipe == RECIPE
    assert opened.recipe.preparation.size == SIZE != ChestRecipe().preparation.size
    pd.testing.assert_frame_equal(opened.images, chest_run.run.images)


def begin(
    inputs: dict,
    out: Path,
    say: Callable[[str], None],
    recipe: ChestRecipe = RECIPE,
    networks: tuple[LeftOut, ...] = TWO_NETWORKS,
) -> ChestRun:
    with tiny_networks(networks):
        return pretrain(inputs["collections"], inputs["dataset"], out, recipe, external=inputs["external"], say=say)


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_finished_run_is_not_trained_again(chest_run: MadeRun) -> None:
    before = files_of(chest_run.run.folder)
    lines: list[str] = []
    again = begin(chest_run.inputs, chest_run.run.folder, lines.append)
    assert lines == []
    assert files_of(chest_run.run.folder) == before
    pd.testing.assert_frame_equal(again.images, chest_run.run.images)


def test_a_run_of_another_recipe_is_refused_and_left_as_it_is(chest_run: MadeRun) -> None:
    before = files_of(chest_run.run.folder)
    for changed in (replace(RECIPE, epochs=3), replace(RECIPE, preparation=Preparation(size=96, border_crop=0.0))):
        with pytest.raises(TrainingError, match=r"another recipe\. Choose another --out"):
            begin(chest_run.inputs, chest_run.run.folder, print, changed)
    assert files_of(chest_run.run.folder) == before


class StoppedError(Exception):
    """What ends a run here, as a power failure would."""


def stopping_once_there_is(file: Path) -> type[Batches]:
    """Batches that end as soon as there is a file."""

    class Stopping(Batches):
        def __getitem__(self, step: int) -> tuple:
            if file.exists():
                raise StoppedError("power failure")
            return super().__getitem__(step)

    return Stopping


def failing_after(times: int, save: Callable[..., None]) -> Callable[..., None]:
    """Saves so many times (the backup after each epoch), and then there is no space left."""
    done = []

    def saving(*arguments: object, **options: object) -> None:
        if len(done) == times:
            raise StoppedError("no space left")
        done.append(times)
        save(*arguments, **options)

    return saving


def stopping_at(word: str, lines: list[str], times: int = 1) -> Callable[[str], None]:
    def say(line: str) -> None:
        lines.append(line)
        if sum(word in one for one in lines) == times:
            raise StoppedError(line)

    return say


def without(run: ChestRun, out: Path, *names: str) -> Path:
    """A copy of a run without some of its files and networks."""
    return Path(shutil.copytree(run.folder, out, ignore=shutil.ignore_patterns(*names)))


def same_weights(one: ChestRun, other: ChestRun, network: LeftOut) -> None:
    for found, expected in zip(weights_of(one, network), weights_of(other, network), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@ENDS_WITH_OPEN_FILES
def test_a_run_stopped_again_and_again_ends_with_the_weights_of_one_that_was_not(
    chest_run: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, other = TWO_NETWORKS
    out = without(chest_run.run, tmp_path / "chest", "lower-mirrored.npy", "lower-1.npy", other.name)
    inputs, lines, done = chest_run.inputs, [], files_of(out / served.name)
    with pytest.raises(StoppedError):
        begin(
            inputs, out, stopping_at("images, 1", lines)
        )  # before the second copy; the mirror images are there by now
    assert (out / "lower-mirrored.npy").is_file()
    assert not (out / "lower-1.npy").exists()
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "Batches", stopping_once_there_is(out / other.name / "history.csv"))
        with pytest.raises(Exception, match="power failure"):  # in the first epoch
            begin(inputs, out, lines.append)
    assert (out / other.name / "history.csv").read_bytes() == b""
    lines.clear()
    with pytest.raises(StoppedError):
        begin(inputs, out, stopping_at("epoch 1", lines))
    assert [line.split(":")[0].strip() for line in lines] == [f"network {other.name}", "epoch 1"]
    assert not (out / other.name / "network.weights.h5").exists()
    lines.clear()
    run = begin(inputs, out, lines.append)
    assert [line.split(":")[0].strip() for line in lines] == [f"network {other.name}", "epoch 2"]
    same_weights(run, chest_run.run, other)
    history = [pd.read_csv(one.folder / other.name / "history.csv") for one in (run, chest_run.run)]
    pd.testing.assert_frame_equal(*history)
    assert files_of(out / served.name) == done


@ENDS_WITH_OPEN_FILES
def test_a_run_stopped_before_its_weights_were_written_trains_no_epoch_twice(
    chest_run: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, lines = TWO_NETWORKS[:1], []
    out = without(chest_run.run, tmp_path / "chest", *(network.name for network in TWO_NETWORKS))

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save_weights", failing_after(2, keras.Model.save_weights))
        with pytest.raises(StoppedError):
            begin(chest_run.inputs, out, lines.append, networks=alone)
    assert [line.strip()[:7] for line in lines[1:]] == ["epoch 1", "epoch 2"]
    lines.clear()
    run = begin(chest_run.inputs, out, lines.append, networks=alone)
    assert not any("epoch 1" in line or "epoch 2" in line for line in lines[1:])
    same_weights(run, chest_run.run, alone[0])
    assert pd.read_csv(run.folder / SERVED / "history.csv")["epoch"].tolist() == [0, 1]


def test_a_copy_is_not_the_image_itself(chest_run: MadeRun) -> None:
    run = chest_run.run
    first = run.array("lower-0")[0].astype(np.float32)
    plain = run.array("lower-plain")[0].astype(np.float32)
    assert np.abs(first - plain).mean() > 0.01


def test_a_network_that_is_not_trained_yet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"served/network\.weights\.h5 is missing: run `pretrain`"):
        load_network(ChestRun(tmp_path, table_of(10), RECIPE), LeftOut(SERVED))


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"recipe\.json is missing"):
        open_run(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.pop("preparation"),
        lambda plain: plain.update(colour="blue"),
        lambda plain: plain["preparation"].update(size=4),
    ],
)
def test_a_run_of_another_version_is_refused(tmp_path: Path, change: Callable[[dict], object]) -> None:
    plain = RECIPE.to_json()
    change(plain)
    (tmp_path / "recipe.json").write_text(json.dumps(plain), encoding="utf-8")
    table_of(5).reindex(columns=["path", "source", "group", "site", "finding", "appearance", "opacities"]).to_csv(
        tmp_path / "images.csv", index=False
    )
    with pytest.raises(TrainingError, match="another version"):
        open_run(tmp_path)


def test_a_run_without_its_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE.to_json()), encoding="utf-8")
    with pytest.raises(TrainingError, match=r"images\.csv cannot be read"):
        open_run(tmp_path)


def test_a_run_without_collections_or_dataset_writes_nothing(chest_inputs: dict, tmp_path: Path) -> None:
    for change in ({"collections": tmp_path / "none"}, {"dataset": tmp_path / "none"}):
        with pytest.raises(DatasetError):
            begin(chest_inputs | change, tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [48, 80, 225])
def test_an_input_that_is_no_multiple_of_32_pixels_is_refused(size: int) -> None:
    with pytest.raises(TrainingError, match=rf"multiple of 32 pixels\. Received: {size}"):
        build_network(replace(RECIPE, preparation=Preparation(size=size)))
