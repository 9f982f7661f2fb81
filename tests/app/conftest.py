"""The app without a browser, with the committed models and a dataset that a test may look through by hand."""

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from numpy.typing import NDArray
from PIL import Image
from streamlit.testing.v1 import AppTest

from covid_core.paths import PROJECT, model_names, models_dir
from tests.fake_bundle import add_fake_gate, write_fake_bundle, write_fake_chest_bundle
from tests.real_images import chest_image

OpenPage = Callable[..., AppTest]
PAGES = ("streamlit_app.py", "pages/1_Predict.py", "pages/2_Dataset.py", "pages/3_Model_report.py")

METADATA = """\
patientid,sex,age,finding,view,modality,filename,url,clinical_notes
1,M,60,Pneumonia/Viral/COVID-19,PA,X-ray,a.png,https://one.example/1,first image
1,M,60,Pneumonia/Viral/COVID-19,AP Supine,X-ray,b.png,https://one.example/2,
2,F,50,Pneumonia/Viral/SARS,PA,X-ray,c.png,https://two.example/1,
3,F,,No Finding,AP,X-ray,d.png,https://two.example/2,
4,,40,todo,PA,X-ray,e.png,https://two.example/3,
5,M,70,Pneumonia/Viral/COVID-19,Axial,CT,f.nii,https://one.example/3,
"""
"""6 images of 5 patients from 2 sources: 3 covid, 2 non_covid, 1 without a finding."""


@pytest.fixture
def open_page() -> OpenPage:
    """Opens a page of the app: `open_page("pages/1_Predict.py")`; by the front door where a test goes on to another page."""

    def open_it(page: str = "streamlit_app.py", /, *, front_door: bool = False, **query: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(PROJECT / ("streamlit_app.py" if front_door else page)), default_timeout=60)
        if front_door:
            app.run().switch_page(page)
        app.query_params.update(query)
        return app.run()

    return open_it


@pytest.fixture
def open_dataset(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OpenPage]:
    """Opens the Dataset page over a folder: installed, named by the visitor, or only its table, uploaded; without a cache."""
    monkeypatch.setenv("COVID_CACHE_DIR", str(tmp_path / "cache"))
    st.cache_resource.clear()

    def open_it(folder: Path, way: str = "installed", **query: str | list[str]) -> AppTest:
        installed = way == "installed"
        monkeypatch.setenv("COVID_DATASET_DIR", str(folder if installed else tmp_path / "no dataset"))
        monkeypatch.setenv("COVID_OWN_COMPUTER", "" if installed else "1")
        if installed:
            return open_page("pages/2_Dataset.py", **query)
        app = open_page("pages/2_Dataset.py")
        app.query_params.update(query)
        if way == "named":
            return app.text_input(key="folder_of_collection").set_value(str(folder)).run()
        table = (folder / "metadata.csv").read_bytes()
        return app.file_uploader[0].upload("metadata.csv", table, "text/csv").run()

    yield open_it
    st.cache_resource.clear()


@pytest.fixture
def models() -> list[str]:
    """The names of the committed bundles."""
    names = model_names()
    if not names:
        pytest.skip(f"there is no model bundle in {models_dir()}")
    return names


@pytest.fixture
def own_bundle(models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a committed bundle that a test may change; the app sees no other."""
    folder = tmp_path / "models" / models[0]
    shutil.copytree(models_dir() / models[0], folder)
    monkeypatch.setenv("COVID_MODELS_DIR", str(folder.parent))
    return folder


@pytest.fixture
def chest_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny bundle of a chest reader, whose gate lets everything pass; the app sees no other."""
    folder = add_fake_gate(write_fake_chest_bundle(tmp_path / "models" / "chest"))
    monkeypatch.setenv("COVID_MODELS_DIR", str(folder.parent))
    return folder


@pytest.fixture
def classifier_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny bundle of a classifier without maps; the app sees no other."""
    folder = write_fake_bundle(tmp_path / "models" / "classifier")
    monkeypatch.setenv("COVID_MODELS_DIR", str(folder.parent))
    return folder


@pytest.fixture
def no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundle is installed."""
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path / "no models"))


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`METADATA` is the installed dataset; of its files only a.png and c.png are there."""
    folder = tmp_path / "dataset"
    (folder / "images").mkdir(parents=True)
    (folder / "metadata.csv").write_text(METADATA, encoding="utf-8")
    for name in ("a.png", "c.png"):
        (folder / "images" / name).write_bytes(b"")
    monkeypatch.setenv("COVID_DATASET_DIR", str(folder))
    return folder


@pytest.fixture
def no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No dataset is installed."""
    monkeypatch.setenv("COVID_DATASET_DIR", str(tmp_path / "no dataset"))


def image_png(seed: int = 0, size: int = 512) -> bytes:
    """A frontal chest X-ray as the content of a PNG file, another one for each seed."""
    return png(chest_image(seed, size))


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def texts(app: AppTest) -> str:
    """Everything the page says in words, Markdown escapes taken away."""
    kinds = ("title", "subheader", "markdown", "caption", "text", "error", "warning", "info", "code")
    return "\n".join(str(one.value) for kind in kinds for one in app.get(kind)).replace("\\", "")
