import json
import shutil

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


def test_a_bundle_is_read_with_the_settings_of_its_manifest(bundle_folder):
    bundle = load_bundle(bundle_folder)
    assert (bundle.name, bundle.version) == ("tiny", "2000-01-01-00000000")
    assert bundle.preparation == PREPARATION
    assert bundle.calibration == CALIBRATION
    assert (bundle.threshold, bundle.threshold_method) == (0.5, "chosen for a test")
    assert bundle.file("model.tflite").is_file()


def test_a_bundle_of_before_there_were_patterns_and_opacities_is_read_without_them(bundle_folder):
    manifest = json.loads((bundle_folder / "bundle.json").read_text())
    assert not {"pattern_threshold", "opacity_threshold", "opacity_error"} & set(manifest)
    bundle = load_bundle(bundle_folder)
    assert (bundle.pattern_threshold, bundle.opacity_threshold, bundle.opacity_error) == (None, None, None)


def test_the_bundle_of_a_chest_reader_has_a_threshold_for_patterns_and_one_for_opacities_with_its_error(chest_folder):
    bundle = load_bundle(chest_folder)
    assert (bundle.pattern_threshold, bundle.opacity_threshold) == (PATTERN_THRESHOLD, OPACITY_THRESHOLD)
    assert bundle.opacity_error == OPACITY_ERROR


def test_a_gate_is_there_for_those_bundles_alone_that_vouch_for_it(own):
    assert load_bundle(own).optional_file("gate.npz") is None
    add_fake_gate(own)
    assert load_bundle(own).optional_file("gate.npz") == own / "gate.npz"
    (own / "gate.npz").write_bytes(b"altered")
    with pytest.raises(BundleError, match=r"gate\.npz was altered"):
        load_bundle(own)


def test_a_bundle_without_a_three_way_decision_has_none(bundle_folder):
    assert load_bundle(bundle_folder).three_way is None


def test_a_three_way_decision_is_read_whatever_else_its_entry_says(own):
    entry = {**THREE_WAY.to_json(), "method": "split conformal"}
    change_manifest(own, lambda manifest: manifest.update(three_way=entry))
    assert load_bundle(own).three_way == THREE_WAY


@pytest.mark.parametrize(("threshold", "bounds"), [(0.3, (0.3, 0.68)), (0.7, (0.31, 0.7)), (0.31, (0.31, 0.68))])
def test_the_indeterminate_range_is_widened_until_it_holds_the_threshold(own, threshold, bounds):
    change_manifest(own, lambda manifest: manifest.update(three_way=THREE_WAY.to_json()))
    change_manifest(own, lambda manifest: manifest["threshold"].update(value=threshold))
    three_way = load_bundle(own).three_way
    assert (three_way.lower, three_way.upper) == bounds
    assert (three_way.coverage, three_way.n_covid, three_way.fitted_on) == (0.9, 20, "validation part")


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_refused_by_name(own, name):
    content = bytearray((own / name).read_bytes())
    content[len(content) // 2] ^= 1
    (own / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} was altered"):
        load_bundle(own)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(own, name):
    (own / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing"):
        load_bundle(own)


def test_a_folder_without_a_bundle_is_refused_with_the_names_of_those_there_are(own, monkeypatch):
    monkeypatch.setenv("COVID_MODELS_DIR", str(own.parent))
    with pytest.raises(BundleError, match=r"Bundles in .*: own"):
        load_bundle(own.parent / "other")


@pytest.mark.parametrize("order", [{"covid": 0, "non_covid": 1}, {"non_covid": 0}, ["non_covid", "covid"]])
def test_classes_in_another_order_are_refused_even_with_a_matching_hash(own, order):
    replace_file(own, "class_indices.json", json.dumps(order).encode())
    with pytest.raises(BundleError, match=r"needs .*'non_covid': 0, 'covid': 1"):
        load_bundle(own)


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_schema_is_refused(own, schema):
    change_manifest(own, lambda manifest: manifest.update(schema=schema))
    with pytest.raises(BundleError, match=r"schema 1"):
        load_bundle(own)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_manifest_that_is_none_is_refused(own, content):
    (own / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(own)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("threshold"),
        lambda manifest: manifest.pop("name"),
        lambda manifest: manifest["threshold"].update(value="high"),
        lambda manifest: manifest["threshold"].update(value=1.5),
        lambda manifest: manifest["threshold"].update(value=float("nan")),
        lambda manifest: manifest["preparation"].update(size=5),
        lambda manifest: manifest["preparation"].update(sharpen=True),
        lambda manifest: manifest["calibration"].update(method="guess"),
        lambda manifest: manifest["calibration"].update(slope=-1.0),
        lambda manifest: manifest.pop("calibration"),
        lambda manifest: manifest.update(calibration=None),
        lambda manifest: manifest.update(three_way={}),
        lambda manifest: manifest.update(three_way=0.9),
        lambda manifest: manifest.update(three_way={**THREE_WAY.to_json(), "lower": 0.7}),
        lambda manifest: manifest.update(three_way={**THREE_WAY.to_json(), "upper": float("nan")}),
        lambda manifest: manifest.update(pattern_threshold=1.5),
        lambda manifest: manifest.update(pattern_threshold="often"),
        lambda manifest: manifest.update(opacity_threshold=-0.1),
        lambda manifest: manifest.update(opacity_threshold=float("nan")),
        lambda manifest: manifest.update(opacity_error=-0.1),
    ],
)
def test_a_manifest_with_a_missing_or_impossible_setting_is_refused(own, change):
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


def test_a_bundle_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "models" / "new"
    with bundle_written_aside(out) as fresh:
        (fresh / "bundle.json").write_text("{}")
        assert not out.exists()
    assert entries(out) == ["bundle.json"]
    assert entries(tmp_path / "models") == ["new"]


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


def test_a_file_in_the_place_of_the_bundle_is_left_alone(tmp_path):
    (tmp_path / "thesis").write_text("words")
    with pytest.raises(BundleError, match="left alone"), bundle_written_aside(tmp_path / "thesis"):
        pytest.fail("the block must not run")
    assert (tmp_path / "thesis").read_text() == "words"


def test_an_empty_folder_may_become_a_bundle(tmp_path):
    (tmp_path / "empty").mkdir()
    with bundle_written_aside(tmp_path / "empty") as fresh:
        (fresh / "bundle.json").write_text("{}")
    assert entries(tmp_path / "empty") == ["bundle.json"]
