import sys

import pytest

from covid_core import paths


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("COVID_MODELS_DIR", "COVID_MODEL", "COVID_DATASET_DIR", "COVID_SHARED_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("COVID_DATASET_URL", "COVID_DATASET_LISTING", "COVID_OWN_COMPUTER"):
        monkeypatch.delenv(name, raising=False)


def test_models_are_those_of_the_project_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    assert paths.models_dir() == paths.PROJECT / "models"
    assert (paths.PROJECT / "pyproject.toml").is_file()
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path / "models"))
    assert paths.models_dir() == tmp_path / "models"
    assert paths.model_names() == []
    for name in ("c", "a", "b"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "bundle.json").write_text("{}")
    (tmp_path / "models" / "empty").mkdir()  # without a manifest it is no model
    monkeypatch.setenv("COVID_MODEL", "b")
    assert paths.default_model() == "b"
    assert paths.model_names() == ["b", "a", "c"]


def test_the_chosen_dataset_is_never_replaced_and_else_images_and_then_the_fetched_one_go_first(monkeypatch, tmp_path):
    assert paths.fetched_dir() == paths.PROJECT / "data" / "covid-chestxray-dataset"
    fetched, shared, chosen = tmp_path / "fetched", tmp_path / "data" / "covid-chestxray-dataset", tmp_path / "chosen"
    monkeypatch.setattr(paths, "FETCHED_DATASET", fetched)
    monkeypatch.setenv("COVID_SHARED_DIR", str(tmp_path))
    assert paths.dataset_dir() is None
    for folder in (shared, fetched):
        folder.mkdir(parents=True)
        (folder / "metadata.csv").write_text("filename\n")
        assert paths.dataset_dir() == folder
    (shared / "images").mkdir()
    assert paths.dataset_dir() == shared
    (fetched / "images").mkdir()
    assert paths.dataset_dir() == fetched
    monkeypatch.setenv("COVID_DATASET_DIR", str(chosen))
    assert paths.dataset_dir() is None
    assert paths.fetched_dir() == chosen
    chosen.mkdir()
    (chosen / "metadata.csv").write_text("filename\n")
    assert paths.dataset_dir() == chosen


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
