"""The gate of a bundle with a tiny network, fitted on synthetic images; the network is untrained, so no gate is good here."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from covid_core.dataset.prepare import prepare_dataset, read_split, split_image_paths
from covid_core.errors import DatasetError, TrainingError
from covid_core.evaluation.intervals import wilson
from covid_core.files import read_json
from covid_core.images.decode import decode_file
from covid_core.images.preprocess import prepare, prepare_files
from covid_core.inference.bundle import load_bundle
from covid_core.inference.gate import load_gate, save_gate, signature
from covid_core.inference.network import Network
from covid_core.inference.predictor import Predictor
from covid_core.training import gate_figures
from covid_core.training.gate import FOLDS, MIN_IMAGES, Signatures, ct_slices, fit_gate
from covid_core.training.gate_figures import judge_gate, pictures_by_kind, write_gate
from tests.fake_bundle import PREPARATION, replace_file, trained_on, write_fake_bundle
from tests.made_up_collections import write_collections
from tests.phantom import COLUMNS, phantom_image, write_phantom_dataset

LATERALS = 14


def write_collection(folder: Path) -> Path:
    """The phantom collection with lateral images: of seven patients, two each, squeezed to half their width."""
    write_phantom_dataset(folder, n_patients=24, size=96)
    rng = np.random.default_rng(8)
    rows = []
    for number in range(LATERALS):
        image = np.asarray(Image.fromarray(phantom_image(rng, "non_covid", 96)).resize((48, 96)))
        name = f"side-{number}.png"
        Image.fromarray(np.pad(image, ((0, 0), (0, 48)))).save(folder / "images" / name)
        known = {
            "patientid": str(1 + number // 2),
            "finding": "todo",
            "filename": name,
            "view": "L",
            "modality": "X-ray",
        }
        rows.append({"folder": "images", "license": "CC0"} | known)
    with (folder / "metadata.csv").open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n").writerows(rows)
    return folder


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection") / "covid")


@pytest.fixture(scope="module")
def dataset(collection, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "dataset"
    prepare_dataset(collection, out)
    return out


@pytest.fixture(scope="module")
def bundle(dataset, tmp_path_factory):
    folder = write_fake_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    return load_bundle(trained_on(folder, dataset))


@pytest.fixture(scope="module")
def fitted(bundle, dataset, collection):
    return fit_gate(bundle, dataset, collection)


def test_the_gate_knows_every_image_of_the_dataset_and_what_the_model_was_fitted_on(fitted, dataset):
    split = read_split(dataset)
    assert fitted.gate.filenames.tolist() == split["filename"].tolist()
    assert fitted.gate.labels.tolist() == split["label"].tolist()
    assert fitted.gate.sources.tolist() == split["source"].fillna("").tolist()
    assert fitted.gate.fitted.all()
    assert fitted.gate.poses.tolist() == [
        "upright",
        "upside_down",
        "turned_left",
        "turned_right",
        "negative",
        "lateral",
    ]


def test_of_a_model_with_a_test_part_only_the_train_part_counts_as_fitted_on(dataset, phantom_dataset, tmp_path):
    parted = load_bundle(trained_on(write_fake_bundle(tmp_path / "parted"), dataset, part=None))
    split = read_split(dataset)
    for collection in (None, phantom_dataset):  # the phantom has one lateral image, which is too few
        gate = fit_gate(parted, dataset, collection).gate
        assert set(gate.filenames[gate.fitted]) == set(split.loc[split["part"] == "train", "filename"])
        assert len(gate.filenames) == len(split)
        assert "lateral" not in gate.poses
        assert gate.lateral_limit == 0


def test_references_are_the_pooled_features_that_the_network_gives(fitted, bundle, dataset):
    network = Network(bundle.file("model.tflite"))
    for index, path in list(enumerate(split_image_paths(dataset)))[::7]:
        pooled = network.invoke(prepare(decode_file(path), PREPARATION)).features.mean(axis=(0, 1))
        rooted = np.sign(pooled) * np.sqrt(np.abs(pooled))
        np.testing.assert_allclose(fitted.gate.references[index], rooted / np.linalg.norm(rooted), atol=1e-3)


def nearest(known, image):
    """The mean distance of an image from its five nearest references, by scikit-learn."""
    return NearestNeighbors(n_neighbors=5).fit(known).kneighbors(image[None])[0].mean()


def own_distances(fitted, cohort):
    references = fitted.gate.references
    return [nearest(references[fitted.groups != fitted.groups[i]], references[i]) for i in range(cohort)]


def test_the_limit_is_the_99th_percentile_of_the_distance_to_images_of_other_patients(fitted):
    assert fitted.gate.limit[0] == pytest.approx(np.percentile(own_distances(fitted, fitted.cohort), 99), abs=2e-3)


def test_a_stand_in_knows_nothing_of_the_patient(fitted):
    for group in np.unique(fitted.groups):
        kept = fitted.groups != group
        stand_in = fitted.stand_in(group)
        assert stand_in.filenames.tolist() == fitted.gate.filenames[kept].tolist()
        assert not np.array_equal(stand_in.pose_kernel, fitted.gate.pose_kernel)
        assert stand_in.limit == fitted.gate.limit
    assert set(fitted.folds) == {*fitted.groups, *fitted.lateral_groups}
    assert set(fitted.folds.values()) == set(range(FOLDS))


def test_lateral_images_of_patients_in_the_dataset_share_their_group(fitted, dataset):
    group_of = read_split(dataset).set_index("patientid")["group"].to_dict()
    patients = ["lateral", *(str(1 + number // 2) for number in range(LATERALS))]  # the phantom's own comes first
    assert len(fitted.laterals) == len(patients)
    for patient, group in zip(patients, fitted.lateral_groups, strict=True):
        assert group == str(group_of.get(patient, f"patient {patient}"))
    assert fitted.gate.lateral_limit >= fitted.gate.limit


def test_at_most_about_one_in_a_hundred_upright_images_is_refused_for_each_reason(fitted):
    refusals = []
    for index, group in enumerate(fitted.groups):
        gate = fitted.stand_in(group)
        refusals.append(
            gate.screen_signature(fitted.images.of(index), lambda r, i=index: fitted.images.of(i, r)).refusal
        )
    assert sum(refusal is not None for refusal in refusals) <= 2 * np.ceil(0.01 * len(refusals))


def test_the_same_images_give_the_same_file(fitted, bundle, dataset, collection, tmp_path):
    save_gate(tmp_path / "one.npz", fitted.gate)
    save_gate(tmp_path / "other.npz", fit_gate(bundle, dataset, collection).gate)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


def test_without_other_collections_the_gate_knows_no_children_and_warns_of_none(fitted):
    assert fitted.children == frozenset()
    assert fitted.gate.child_limit == 2
    assert not fitted.gate.child_kernel.any()
    for index in range(len(fitted.images)):
        assert not fitted.gate.screen_signature(fitted.images.of(index), lambda _: fitted.images.of(0)).child


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Collections of seven hospitals and of children; the images of one hospital, `pakistan`, are coarse squares."""
    folder = write_collections(tmp_path_factory.mktemp("others") / "collections")
    rng = np.random.default_rng(4)
    for path in sorted(folder.glob("adults/images/*.png")):
        if not path.name.startswith("nih"):
            squares = Image.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8))
            squares.resize((96, 96), Image.Resampling.NEAREST).save(path)
    return folder


@pytest.fixture
def without_copies(monkeypatch):
    """This untrained network tells little apart: by the usual distance, all pictures are copies of each other."""
    monkeypatch.setattr(gate_figures, "COPY_DISTANCE", -1.0)


@pytest.fixture(scope="module")
def widened(bundle, dataset, collection, elsewhere):
    """The gate that has seen other hospitals and children as well."""
    return fit_gate(bundle, dataset, collection, elsewhere=elsewhere)


def test_the_gate_knows_adults_of_every_hospital_behind_the_dataset(widened, fitted, dataset):
    gate, cohort = widened.gate, len(read_split(dataset))
    assert widened.cohort == fitted.cohort == cohort
    np.testing.assert_array_equal(gate.references[:cohort], fitted.gate.references)
    found = dict(zip(*np.unique(gate.sources[cohort:], return_counts=True), strict=True))
    # Indeterminate appearances are of no class; what is left of `write_collections`, by source and hospital group.
    assert found == {
        **{"siim S00": 23, "siim S01": 23, "siim S03": 15, "siim": 3},
        **{"nih": 14, "pakistan": 10, "hannover": 6},
    }
    assert not gate.fitted[cohort:].any()  # none of them is shown as a similar one
    label_of = dict(zip(gate.filenames[cohort:], gate.labels[cohort:], strict=True))
    assert label_of["S00-typical-0.png"] == label_of["figshare-0.png"] == "covid"
    for name in ("S00-negative-1.png", "S00-atypical-0.png", "tuberculosis-0.png", "nih-none-0.png"):
        assert label_of[name] == "non_covid"


def test_the_distance_may_be_as_large_as_at_the_strangest_hospital_left_out(widened):
    references, cohort = widened.gate.references, widened.cohort
    hospital = np.append(widened.groups[:cohort], widened.gate.sources[cohort:])
    limits = []
    for name in np.unique(hospital[cohort:]):
        away = [nearest(references[hospital != name], image) for image in references[hospital == name]]
        limits.append(np.percentile(away, 98))
    own = np.percentile(own_distances(widened, cohort), 99)
    assert widened.gate.limit[0] == pytest.approx(max(*limits, own), abs=2e-3)
    assert max(limits) > own  # so that a gate that knows the dataset alone is narrower


def fields_of(network, paths):
    """What the gate reads the pose and the age from, worked out here: the roots of the nine means, of length 1 together."""
    rows = []
    for image in prepare_files(paths, PREPARATION):
        means = signature(network.invoke(image).features)[1:].ravel()
        rooted = np.sign(means) * np.sqrt(np.abs(means))
        rows.append(rooted / np.linalg.norm(rooted))
    return np.array(rows, float)


def child_model(adults, children):
    features = np.concatenate([adults, children])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000))
    return model.fit(features, np.repeat([0, 1], [len(adults), len(children)]))


def test_a_logistic_regression_tells_children_and_takes_one_adult_in_a_hundred_of_an_unseen_hospital_for_one(
    widened, bundle, dataset, elsewhere
):
    network, cohort, gate = Network(bundle.file("model.tflite")), widened.cohort, widened.gate
    split = read_split(dataset)
    grown = np.ones(len(widened.groups), bool)
    grown[:cohort] = ~(pd.to_numeric(split["age"], errors="coerce") < 18)
    names = {path.name: path for path in elsewhere.glob("*/images/*.png")}
    paths = [*split_image_paths(dataset), *(names[name] for name in gate.filenames[cohort:])]
    hospital = np.append(np.full(cohort, "the dataset"), gate.sources[cohort:])[grown]
    adults = fields_of(network, paths)[grown]
    children = fields_of(network, sorted((elsewhere / "pretraining" / "images").iterdir()))
    assert widened.children == {f"child-{finding}-{number}.png" for finding in "NP" for number in range(4)}

    features = np.concatenate([adults, children])
    expected = child_model(adults, children).predict_proba(features)[:, 1]
    logits = features @ gate.child_kernel.astype(float) + gate.child_bias[0]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=2e-3)
    assert expected[-len(children) :].mean() > expected[: len(adults)].mean()

    limits = [0.5]
    for name in np.unique(hospital):
        model = child_model(adults[hospital != name], children)
        limits.append(np.percentile(model.predict_proba(adults[hospital == name])[:, 1], 99))
    assert gate.child_limit[0] == pytest.approx(max(limits), abs=2e-3)


def test_collections_of_children_alone_or_none_are_refused(bundle, dataset, elsewhere, tmp_path):
    with pytest.raises(DatasetError, match="holds none of the collections"):
        fit_gate(bundle, dataset, elsewhere=tmp_path)
    shutil.copytree(elsewhere / "pretraining", tmp_path / "pretraining")
    with pytest.raises(TrainingError, match="no radiograph of an adult"):
        fit_gate(bundle, dataset, elsewhere=tmp_path)


def test_signatures_after_repairs_are_those_of_the_repaired_picture(bundle, dataset):
    network = Network(bundle.file("model.tflite"))
    images = prepare_files(split_image_paths(dataset)[:2], PREPARATION)
    signatures = Signatures(network, images)
    turned = network.invoke(np.ascontiguousarray(255 - np.rot90(images[1], 3))).features
    np.testing.assert_array_equal(signatures.of(1, ("turn_left", "invert", "turn_around")), signature(turned))
    assert signatures.of(1, ("turn_right", "turn_left")) is signatures.of(1)


def write_images(folder: Path, seeds: range) -> list[Path]:
    folder.mkdir()
    paths = []
    for seed in seeds:
        paths.append(folder / f"{seed}.png")
        Image.fromarray(phantom_image(np.random.default_rng(1000 + seed), "covid", 96)).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def block(bundle, fitted, dataset, tmp_path_factory):
    """Judged with pictures of noise, images from elsewhere with a copy among them, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("elsewhere")
    noise = [np.random.default_rng(seed).random((80, 80), np.float32) for seed in range(6)]
    elsewhere = [*write_images(folder / "images", range(12)), split_image_paths(dataset)[3]]
    (folder / "broken.png").write_bytes(b"no picture")
    return judge_gate(bundle, fitted, {"noise": [*noise, folder / "broken.png"]}, {"elsewhere": elsewhere})


def test_the_block_is_plain_json_and_tells_of_every_kind_and_source(block, fitted, dataset):
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    kinds = [kind["kind"] for kind in block["kinds"]]
    assert kinds == ["upside down", "turned left", "turned right", "negative", "lateral", "noise"]
    assert block["films"] == len(fitted.groups)
    assert block["patients"] == len(set(fitted.groups))
    for row in (*block["kinds"], *block["hospitals"], *block["sources"]):
        refused = sum(row["reasons"].values())
        assert row["refused"] == wilson(refused, row["n"]).to_json()
    for kind in block["kinds"][:4]:
        assert 0 <= kind["right_repair"] <= kind["repair_offered"] <= kind["n"]
    assert max(kind["right_repair"] for kind in block["kinds"][:4]) > 0
    counts = read_split(dataset)["source"].value_counts()
    assert {row["name"]: row["n"] for row in block["sources"]} == counts[counts >= 20].to_dict()


def test_what_cannot_be_read_is_counted_apart_and_copies_of_known_images_are_left_out(block):
    noise = next(kind for kind in block["kinds"] if kind["kind"] == "noise")
    assert (noise["n"], noise["unreadable"], noise["right_repair"]) == (6, 1, None)
    elsewhere = next(place for place in block["hospitals"] if place["name"] == "elsewhere")
    assert elsewhere["n"] + elsewhere["copies_left_out"] == 13
    assert elsewhere["copies_left_out"] >= 1


@pytest.mark.usefixtures("without_copies")
def test_warnings_and_calls_of_a_hospital_are_those_that_the_served_model_gives(widened, bundle, elsewhere, tmp_path):
    """Counted again through the predictor: what is refused, what is taken for a child's, and what is called COVID-19."""
    kinds = {
        "children": sorted((elsewhere / "pretraining" / "images").iterdir()),
        "others": write_images(tmp_path / "images", range(30)),
    }
    # So low that some are taken for children, whatever this untrained network makes of them.
    chances = [widened.gate.probability_child(widened.images.of(index)) for index in range(widened.cohort)]
    limit = float(np.quantile(chances, 0.3))
    gate = replace(widened.gate, child_limit=np.array([limit], np.float32))
    block = judge_gate(bundle, replace(widened, gate=gate), hospitals=kinds)
    assert block["child_limit"] == pytest.approx(limit)
    folder = shutil.copytree(bundle.folder, tmp_path / "own")
    save_gate(folder / "gate.npz", gate)
    replace_file(folder, "gate.npz", (folder / "gate.npz").read_bytes())
    predictor, seen = Predictor(load_bundle(folder)), []
    for name, paths in kinds.items():
        row = next(one for one in block["hospitals"] if one["name"] == name)
        assert (row["n"], row["copies_left_out"]) == (len(paths), 0)
        found = [predictor.predict(decode_file(path), anyway=True) for path in paths]
        called = [one.label == "covid" for one in found]
        warned = [one.screening.child for one in found]
        passed = [one.anyway is None for one in found]
        silent = [call and ok and not child for call, ok, child in zip(called, passed, warned, strict=True)]
        for key, counted in (("called", called), ("warned", warned), ("called_silently", silent)):
            assert row[key] == wilson(sum(counted), len(paths)).to_json(), (name, key)
        assert row["refused"] == wilson(len(paths) - sum(passed), len(paths)).to_json()
        seen += zip(called, warned, strict=True)
    assert set(seen) == {(False, False), (False, True), (True, False), (True, True)}


@pytest.mark.usefixtures("without_copies")
def test_children_that_the_gate_learned_from_are_not_judged_by_it(dataset, elsewhere, tmp_path):
    folder = trained_on(write_fake_bundle(tmp_path / "tiny"), dataset)
    known = sorted((elsewhere / "pretraining" / "images").iterdir())
    fresh = write_images(tmp_path / "images", range(3))
    block = write_gate(folder, dataset, hospitals={"children": [*known, *fresh]}, elsewhere=elsewhere)
    assert next(row for row in block["hospitals"] if row["name"] == "children")["n"] == len(fresh)
    gate = load_gate(folder / "gate.npz")
    assert gate.child_limit[0] == pytest.approx(block["child_limit"])
    assert 0.5 <= block["child_limit"] <= 1
    assert len(gate.filenames) == block["films"] == len(read_split(dataset)) + 94


def test_auroc_and_fpr95_compare_with_the_upright_images_of_other_patients(block, fitted):
    def strangeness(repairs):
        return [fitted.stand_in(g).strangeness(fitted.images.of(i, repairs)) for i, g in enumerate(fitted.groups)]

    upright, lying = strangeness(()), strangeness(("turn_left",))
    truth, scores = np.repeat([1, 0], len(upright)), -np.array(upright + lying)  # positive: upright
    found = next(kind for kind in block["kinds"] if kind["kind"] == "turned left")
    assert found["roc_auc"] == pytest.approx(roc_auc_score(truth, scores))
    false_positive, true_positive, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert found["fpr95"] == pytest.approx(false_positive[np.argmax(true_positive >= 0.95)])


def test_a_bundle_gets_its_gate_and_is_whole_afterwards(dataset, collection, tmp_path):
    folder = trained_on(write_fake_bundle(tmp_path / "tiny"), dataset)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    lines = []
    block = write_gate(folder, dataset, collection, say=lines.append)
    bundle = load_bundle(folder)  # every hash fits
    assert bundle.optional_file("gate.npz") == folder / "gate.npz"
    assert read_json(folder / "evaluation.json", DatasetError)["gate"] == block
    assert lines
    for name in ("model.tflite", "predictions.csv", "head.npz"):
        assert (folder / name).read_bytes() == before[name]
    assert "CT slice" in [kind["kind"] for kind in block["kinds"]]
    predictor, gate = Predictor(bundle), load_gate(folder / "gate.npz")
    image = decode_file(split_image_paths(dataset)[0])
    found = predictor.predict(image, anyway=True)
    assert found.screening.limit == pytest.approx(float(gate.limit[0]))
    assert found.similar[0].filename == gate.filenames[0]
    write_gate(folder, dataset)  # once more, without the collection: a former gate is replaced
    assert "lateral" not in load_gate(folder / "gate.npz").poses


def one_class_dataset(folder: Path, images: int, patients: int) -> Path:
    """What `prepare` leaves, of one class only."""
    rng = np.random.default_rng(2)
    (folder / "split" / "train" / "non_covid").mkdir(parents=True)
    rows = []
    for number in range(images):
        name = f"{number}.png"
        Image.fromarray(phantom_image(rng, "non_covid", 64)).save(folder / "split" / "train" / "non_covid" / name)
        rows.append((name, f"p{number % patients}", "non_covid", "train", f"{number:064x}", f"p{number % patients}"))
    columns = ["filename", "patientid", "label", "part", "sha256", "group"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "split.csv", index=False)
    return folder


def test_forty_images_of_one_class_are_enough(tmp_path):
    dataset = one_class_dataset(tmp_path / "small", images=40, patients=13)
    folder = trained_on(write_fake_bundle(tmp_path / "tiny"), dataset)
    block = write_gate(folder, dataset)
    assert (block["films"], block["patients"], block["sources"]) == (40, 13, [])
    assert set(load_gate(folder / "gate.npz").labels) == {"non_covid"}


@pytest.mark.parametrize(("images", "patients"), [(MIN_IMAGES - 1, 10), (40, FOLDS - 1)])
def test_too_few_images_or_patients_are_refused(tmp_path, images, patients):
    dataset = one_class_dataset(tmp_path / "small", images, patients)
    folder = trained_on(write_fake_bundle(tmp_path / "tiny"), dataset)
    with pytest.raises(TrainingError, match=f"Received: {images} images of {patients} patients.*works without a gate"):
        fit_gate(load_bundle(folder), dataset)


def test_another_dataset_and_one_patient_with_nearly_all_images_are_refused(bundle, tmp_path):
    dataset = one_class_dataset(tmp_path / "small", 24, 24)
    with pytest.raises(TrainingError, match="was trained on another dataset"):
        fit_gate(bundle, dataset)
    split = pd.read_csv(dataset / "split.csv")
    split["group"] = ["p0"] * 20 + ["p1", "p2", "p3", "p4"]
    split.to_csv(dataset / "split.csv", index=False)
    folder = trained_on(write_fake_bundle(tmp_path / "tiny"), dataset)
    with pytest.raises(TrainingError, match="5 of other patients than any one"):
        fit_gate(load_bundle(folder), dataset)


def test_ct_slices_of_the_collection_are_found(collection):
    assert [path.name for path in ct_slices(collection)] == ["ct.png"]


def test_pictures_are_found_in_folders_below_and_grouped_by_source_hospital_and_finding(tmp_path):
    def kinds():
        return {kind: [path.name for path in paths] for kind, paths in pictures_by_kind(folder).items()}

    folder = tmp_path / "far"
    (folder / "images").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no pictures"):
        kinds()
    for name in ("b.PNG", "a.jpeg", "c.dcm", "d.png", "notes.txt"):
        (folder / "images" / name).write_bytes(b"")
    assert kinds() == {"far": ["a.jpeg", "b.PNG", "c.dcm", "d.png"]}
    (folder / "labels.csv").write_text("filename,finding,site,source\na.jpeg,Mass,S1,x\nb.PNG,,S1,x\nc.dcm,Mass,S1,x\n")
    assert kinds() == {
        "far, not in the table": ["d.png"],
        "far, x, S1, Mass": ["a.jpeg", "c.dcm"],
        "far, x, S1, not stated": ["b.PNG"],
    }
    (folder / "labels.csv").write_text("filename,finding\na.jpeg,Mass\nb.PNG,Mass\nc.dcm,Mass\nd.png,Node\n")
    assert list(kinds()) == ["far, Mass", "far, Node"]
    (folder / "labels.csv").write_text("filename\na.jpeg\n")
    assert list(kinds()) == ["far", "far, not in the table"]
