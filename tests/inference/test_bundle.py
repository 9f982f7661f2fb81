import json
import shutil
from dataclasses import replace

import pytest

from covid_core.errors import BundleError
from covid_core.evaluation.conformal import ThreeWay
from covid_core.inference.bundle import FILES, bundle_written_aside, load_bundle, write_manifest
from tests.fake_bundle import (
    CALIBRATION,
    OPACITY_ERROR,
    OPACITY_THRESHOLD,
    PATTERN_THRESHOLD,
    PREPARATION,
    add_fake_gate,
    change_manifest,
    replace_file,
)

THREE_WAY = ThreeWay(0.31, 0.68, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="validation part")


@pytest.fixture
def own(bundle_folder, tmp_path):
    """A copy of the bundle to change."""
    return shutil.copytree(bundle_folder, tmp_path / "own")


def test_a_bundle_is_read_with_the_settings_of_its_manifest(bundle_folder, chest_folder):
    bundle = load_bundle(bundle_folder)
    assert (bundle.name, bundle.version) == ("tiny", "2000-01-01-00000000")
    assert (bundle.preparation, bundle.calibration) == (PREPARATION, CALIBRATION)
    assert (bundle.threshold, bundle.threshold_method) == (0.5, "chosen for a test")
    assert bundle.file("model.tflite").is_file()
    assert (bundle.three_way, bundle.pattern_threshold, bundle.opacity_threshold, bundle.opacity_error) == (None,) * 4
    chest = load_bundle(chest_folder)
    assert (chest.pattern_threshold, chest.opacity_threshold) == (PATTERN_THRESHOLD, OPACITY_THRESHOLD)
    assert chest.opacity_error == OPACITY_ERROR


def test_a_gate_is_there_for_those_bundles_alone_that_vouch_for_it(own):
    assert load_bundle(own).optional_file("gate.npz") is None
    add_fake_gate(own)
    assert load_bundle(own).optional_file("gate.npz") == own / "gate.npz"
    (own / "gate.npz").write_bytes(b"altered")
    with pytest.raises(BundleError, match=r"gate\.npz was altered"):
        load_bundle(own)


@pytest.mark.parametrize(
    ("threshold", "bounds"), [(0.5, (0.31, 0.68)), (0.3, (0.3, 0.68)), (0.7, (0.31, 0.7)), (0.31, (0.31, 0.68))]
)
def test_the_indeterminate_range_is_widened_until_it_holds_the_threshold(own, threshold, bounds):
    entry = {**THREE_WAY.to_json(), "method": "split conformal"}  # whatever else it says
    change_manifest(own, lambda manifest: manifest.update(three_way=entry))
    change_manifest(own, lambda manifest: manifest["threshold"].update(value=threshold))
    three_way = load_bundle(own).three_way
    assert three_way == replace(THREE_WAY, lower=bounds[0], upper=bounds[1])


@pytest.mark.parametrize("name", FILES)
def test_an_altered_or_missing_file_is_refused_by_name(own, name):
    content = bytearray((own / name).read_bytes())
    content[len(content) // 2] ^= 1
    (own / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} was altered"):
        load_bundle(own)
    (own / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing"):
        load_bundle(own)


def test_a_folder_without_a_bundle_is_refused_with_the_names_of_those_there_are(own, monkeypatch):
    monkeypatch.setenv("COVID_MODELS_DIR", str(own.parent))
    with pytest.raises(BundleError, match=r"Bundles in .*: own"):
        load_bundle(own.parent / "other")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "null", *(f'{{"schema": {schema}}}' for schema in (0, 2, '"1"', "null"))]
)
def test_a_manifest_that_is_none_or_of_another_schema_is_refused(own, content):
    (own / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(own)


@pytest.mark.parametrize("order", [{"covid": 0, "non_covid": 1}, {"non_covid": 0}, ["non_covid", "covid"]])
def test_classes_in_another_order_are_refused_even_with_a_matching_hash(own, order):
    replace_file(own, "class_indices.json", json.dumps(order).encode())
    with pytest.raises(BundleError, match=r"needs .*'non_covid': 0, 'covid': 1"):
        load_bundle(own)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(([key], None) for key in ("threshold", "name", "calibration")),
        *((["threshold", "value"], value) for value in ("high", 1.5, float("nan"))),
        (["preparation", "size"], 5),
        (["preparation", "sharpen"], True),
        (["calibration", "method"], "guess"),
        (["calibration", "slope"], -1.0),
        *((["three_way"], value) for value in ({}, 0.9, {**THREE_WAY.to_json(), "lower": 0.7})),
        (["three_way"], {**THREE_WAY.to_json(), "upper": float("nan")}),
        *((["pattern_threshold"], value) for value in (1.5, "often")),
        *((["opacity_threshold"], value) for value in (-0.1, float("nan"))),
        (["opacity_error"], -0.1),
    ],
    ids=str,
)
def test_a_manifest_with_a_missing_or_impossible_setting_is_refused(own, path, value):
    def change(manifest):
        for key in path[:-1]:
            manifest = manifest[key]
        manifest.pop(path[-1], None)
        if value is not None:
            manifest[path[-1]] = value

    change_manifest(own, change)
    with pytest.raises(BundleError, match="lacks a setting or has a wrong one"):
        load_bundle(own)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("files"),
        lambda manifest: manifest["files"].pop("head.npz"),
        lambda manifest: manifest["files"].update({"../../secret": "0" * 64}),
        lambda manifest: manifest["files"].update({"ensemble.npz": "0" * 64}),
    ],
)
def test_a_manifest_that_vouches_for_other_files_is_refused(own, change):
    change_manifest(own, change)
    with pytest.raises(BundleError, match="does not name the files of a bundle"):
        load_bundle(own)


def test_a_manifest_is_not_written_over_missing_files(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"head\.npz, model\.keras"):
        write_manifest(tmp_path, {})
    assert not (tmp_path / "bundle.json").exists()


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_appears_whole_or_not_at_all_and_in_an_empty_folder_too(tmp_path):
    out = tmp_path / "models" / "new"
    with bundle_written_aside(out) as fresh:
        (fresh / "bundle.json").write_text("{}")
        assert not out.exists()
    assert entries(out) == ["bundle.json"]
    assert entries(tmp_path / "models") == ["new"]
    (tmp_path / "empty").mkdir()
    with bundle_written_aside(tmp_path / "empty") as fresh:
        (fresh / "bundle.json").write_text("{}")
    assert entries(tmp_path / "empty") == ["bundle.json"]


def test_a_former_bundle_is_replaced_as_a_whole(tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    for name in ("bundle.json", "of_the_former"):
        (out / name).write_text("former")
    with bundle_written_aside(out) as fresh:
        (fresh / "bundle.json").write_text("fresh")
        assert (out / "of_the_former").is_file()
    assert entries(out) == ["bundle.json"]
    assert (out / "bundle.json").read_text() == "fresh"
    assert entries(tmp_path) == ["model"]


def test_the_former_bundle_stays_when_the_export_fails(own):
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    with pytest.raises(RuntimeError, match="parity"), bundle_written_aside(own) as fresh:
        (fresh / "bundle.json").write_text("half")
        raise RuntimeError("parity")
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before
    assert entries(own.parent) == ["own"]
    load_bundle(own)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("words")
    with pytest.raises(BundleError, match="left alone"), bundle_written_aside(tmp_path / "thesis"):
        pytest.fail("the block must not run")
    assert entries(tmp_path / "thesis") == ["chapter.tex"]
    (tmp_path / "file").write_text("words")
    with pytest.raises(BundleError, match="left alone"), bundle_written_aside(tmp_path / "file"):
        pytest.fail("the block must not run")
    assert (tmp_path / "file").read_text() == "words"
