import sys

import pytest

from covid_core import paths


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("COVID_MODELS_DIR", "COVID_MODEL", "COVID_DATASET_DIR", "COVID_SHARED_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("COVID_DATASET_URL", "COVID_DATASET_LISTING", "COVID_OWN_COMPUTER"):
        monkeypatch.delenv(name, raising=False)


def _bundles(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "bundle.json").write_text("{}")


def test_models_are_those_of_the_project_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    assert paths.models_dir() == paths.PROJECT / "models"
    assert (paths.PROJECT / "pyproject.toml").is_file()
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path))
    assert paths.models_dir() == tmp_path


def test_the_default_model_comes_first_and_folders_without_a_manifest_do_not_count(monkeypatch, tmp_path):
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("COVID_MODEL", "b")
    _bundles(tmp_path, "c", "a", "b")
    (tmp_path / "empty").mkdir()
    assert paths.default_model() == "b"
    assert paths.model_names() == ["b", "a", "c"]


def test_a_missing_models_folder_holds_no_models(monkeypatch, tmp_path):
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path / "none"))
    assert paths.model_names() == []


def test_the_chosen_dataset_is_taken_and_never_replaced_by_another(monkeypatch, tmp_path):
    shared = tmp_path / "shared" / "data" / "covid-chestxray-dataset"
    shared.mkdir(parents=True)
    (shared / "metadata.csv").write_text("filename\n")
    monkeypatch.setattr(paths, "FETCHED_DATASET", tmp_path / "not fetched")
    monkeypatch.setenv("COVID_SHARED_DIR", str(tmp_path / "shared"))
    assert paths.dataset_dir() == shared
    monkeypatch.setenv("COVID_DATASET_DIR", str(tmp_path / "elsewhere"))
    assert paths.dataset_dir() is None


def test_a_dataset_with_images_goes_before_one_that_has_the_table_alone(monkeypatch, tmp_path):
    fetched, shared = tmp_path / "fetched", tmp_path / "data" / "covid-chestxray-dataset"
    for folder in (fetched, shared):
        folder.mkdir(parents=True)
        (folder / "metadata.csv").write_text("filename\n")
    (shared / "images").mkdir()
    monkeypatch.setattr(paths, "FETCHED_DATASET", fetched)
    monkeypatch.setenv("COVID_SHARED_DIR", str(tmp_path))
    assert paths.dataset_dir() == shared
    (fetched / "images").mkdir()
    assert paths.dataset_dir() == fetched


def test_the_fetched_dataset_goes_before_the_shared_one(monkeypatch, tmp_path):
    for folder in (tmp_path / "fetched", tmp_path / "data" / "covid-chestxray-dataset"):
        folder.mkdir(parents=True)
        (folder / "metadata.csv").write_text("filename\n")
    monkeypatch.setattr(paths, "FETCHED_DATASET", tmp_path / "fetched")
    monkeypatch.setenv("COVID_SHARED_DIR", str(tmp_path))
    assert paths.dataset_dir() == tmp_path / "fetched"


def test_a_page_fetches_to_where_the_dataset_is_looked_for_first(monkeypatch, tmp_path):
    assert paths.fetched_dir() == paths.PROJECT / "data" / "covid-chestxray-dataset"
    monkeypatch.setenv("COVID_DATASET_DIR", str(tmp_path))
    assert paths.fetched_dir() == tmp_path
    (tmp_path / "metadata.csv").write_text("filename\n")
    assert paths.dataset_dir() == tmp_path


def test_the_public_files_are_compared_with_the_public_list_and_others_with_none_unless_one_is_named(monkeypatch):
    public = paths.dataset_url()
    assert public == "https://raw.githubusercontent.com/ieee8023/covid-chestxray-dataset/master/"
    tree = "https://api.github.com/repos/ieee8023/covid-chestxray-dataset/git/trees/master?recursive=1"
    assert paths.dataset_listing(public) == paths.dataset_listing(public.rstrip("/")) == tree
    monkeypatch.setenv("COVID_DATASET_URL", "https://mirror.example/")
    assert paths.dataset_url() == "https://mirror.example/"
    assert paths.dataset_listing("https://mirror.example/") is None
    monkeypatch.setenv("COVID_DATASET_LISTING", "https://mirror.example/tree")
    assert paths.dataset_listing("https://mirror.example/") == "https://mirror.example/tree"
    assert paths.dataset_listing(public, "https://other.example/tree") == "https://other.example/tree"
    assert paths.dataset_listing(public, "none") is None
    monkeypatch.setenv("COVID_DATASET_LISTING", "none")
    assert paths.dataset_listing(public) is None


def test_the_machine_is_nobodys_own_unless_the_environment_says_so(monkeypatch):
    assert not paths.own_computer()
    monkeypatch.setenv("COVID_OWN_COMPUTER", "0")
    assert not paths.own_computer()
    monkeypatch.setenv("COVID_OWN_COMPUTER", "1")
    assert paths.own_computer()


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other cache folders")
def test_what_can_be_made_again_is_in_the_cache_folder_of_the_user(monkeypatch, tmp_path):
    for name in ("COVID_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.cache_dir() == tmp_path / ".cache" / "covid-core"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # to be ignored, says the specification
    assert paths.cache_dir() == tmp_path / ".cache" / "covid-core"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert paths.cache_dir() == tmp_path / "xdg" / "covid-core"
    monkeypatch.setenv("COVID_CACHE_DIR", str(tmp_path / "chosen"))
    assert paths.cache_dir() == tmp_path / "chosen"


def test_a_user_without_a_home_has_a_cache_folder_all_the_same(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("COVID_CACHE_DIR", raising=False)
    monkeypatch.setattr(paths.Path, "home", homeless)
    assert paths.cache_dir().is_absolute()
