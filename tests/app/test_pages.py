import subprocess
import sys

import pytest

from covid_core.paths import PROJECT
from covid_core.text import RESEARCH_ONLY
from tests.app.conftest import OpenPage, texts

PAGES = ("streamlit_app.py", "pages/1_Predict.py", "pages/2_Dataset.py", "pages/3_Model_report.py")


@pytest.mark.usefixtures("models", "dataset")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("front_door", [True, False])
def test_every_page_renders_by_the_front_door_and_alone(page: str, front_door: bool, open_page: OpenPage) -> None:
    app = open_page(page, front_door=front_door)
    assert not app.exception
    assert not app.error
    assert app.title[0].value
    assert RESEARCH_ONLY in texts(app)


@pytest.mark.usefixtures("no_models", "no_dataset")
@pytest.mark.parametrize("page", PAGES)
def test_every_page_renders_where_nothing_is_installed_and_says_what_to_do(page: str, open_page: OpenPage) -> None:
    app = open_page(page)
    assert not app.exception
    assert "python -m covid_core fetch" in texts(app)
    assert RESEARCH_ONLY in texts(app)


def test_the_front_page_links_to_the_other_three(open_page: OpenPage) -> None:
    links = [link.value.strip("*") for link in open_page().main.get("page_link")]
    assert links == ["Predict", "Dataset", "Model report"]


def test_a_model_is_chosen_by_the_address(models: list[str], open_page: OpenPage) -> None:
    other = models[-1]
    app = open_page("pages/3_Model_report.py", model=other)
    assert app.selectbox(key="model").value == other


def test_an_unknown_model_in_the_address_gives_the_default_one(models: list[str], open_page: OpenPage) -> None:
    app = open_page("pages/3_Model_report.py", model="../../etc")
    assert not app.exception
    assert app.selectbox(key="model").value == models[0]


def test_the_app_needs_no_training_package() -> None:
    modules = "covid_core.ui, covid_core.figures, covid_core.dataset.cohort"
    code = (
        f"import {modules}, covid_core.inference.results, covid_core.dataset.summaries, covid_core.report.tables, sys; "
        "print(sorted({'tensorflow', 'keras', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
