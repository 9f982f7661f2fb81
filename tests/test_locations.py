import pytest

from covid_core import locations


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("COVID_MODELS_DIR", "COVID_MODEL", "COVID_DATASET_DIR", "COVID_SHARED_DIR"):
        monkeypatch.delenv(name, raising=False)


def _bundles(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "bundle.json").write_text("{}")


def test_models_are_those_of_the_project_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    assert locations.models_dir() == locations.PROJECT / "models"
    assert (locations.PROJECT / "pyproject.toml").is_file()
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path))
    assert locations.models_dir() == tmp_path


def test_the_default_model_comes_first_and_folders_without_a_manifest_do_not_count(monkeypatch, tmp_path):
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("COVID_MODEL", "b")
    _bundles(tmp_path, "c", "a", "b")
    (tmp_path / "empty").mkdir()
    assert locations.default_model() == "b"
    assert locations.model_names() == ["b", "a", "c"]


def test_a_missing_models_folder_holds_no_models(monkeypatch, tmp_path):
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path / "none"))
    assert locations.model_names() == []


def test_the_chosen_dataset_is_taken_and_never_replaced_by_another(monkeypatch, tmp_path):
    shared = tmp_path / "shared" / "data" / "covid-chestxray-dataset"
    shared.mkdir(parents=True)
    (shared / "metadata.csv").write_text("filename\n")
    monkeypatch.setattr(locations, "FETCHED_DATASET", tmp_path / "not fetched")
    monkeypatch.setenv("COVID_SHARED_DIR", str(tmp_path / "shared"))
    assert locations.dataset_dir() == shared
    monkeypatch.setenv("COVID_DATASET_DIR", str(tmp_path / "elsewhere"))
    assert locations.dataset_dir() is None


def test_the_fetched_dataset_goes_before_the_shared_one(monkeypatch, tmp_path):
    for folder in (tmp_path / "fetched", tmp_path / "data" / "covid-chestxray-dataset"):
        folder.mkdir(parents=True)
        (folder / "metadata.csv").write_text("filename\n")
    monkeypatch.setattr(locations, "FETCHED_DATASET", tmp_path / "fetched")
    monkeypatch.setenv("COVID_SHARED_DIR", str(tmp_path))
    assert locations.dataset_dir() == tmp_path / "fetched"
