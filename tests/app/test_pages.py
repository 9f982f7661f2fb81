import subprocess
import sys

import pytest

from covid_core.paths import PROJECT
from covid_core.text import RESEARCH_ONLY
from tests.app.conftest import PAGES, OpenPage, texts


@pytest.mark.usefixtures("models", "dataset")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("front_door", [True, False])
def test_every_page_renders_by_the_front_door_and_alone(page: str, front_door: bool, open_page: OpenPage) -> None:
    app = open_page(page, front_door=front_door)
    assert not app.exception
    assert not app.error
    assert app.title[0].value
    assert RESEARCH_ONLY in texts(app)
    if page == PAGES[0]:
        links = [link.value.strip("*") for link in app.main.get("page_link")]
        assert links == ["Predict", "Dataset", "Model report"]


@pytest.mark.usefixtures("no_models", "no_dataset")
@pytest.mark.parametrize("page", PAGES)
def test_every_page_renders_where_nothing_is_installed_and_says_what_to_do(page: str, open_page: OpenPage) -> None:
    app = open_page(page)
    assert not app.exception
    assert "python -m covid_core fetch" in texts(app)
    assert RESEARCH_ONLY in texts(app)


def test_the_address_chooses_a_known_model_and_else_the_default_one(models: list[str], open_page: OpenPage) -> None:
    for wanted, found in ((models[-1], models[-1]), ("../../etc", models[0])):
        app = open_page("pages/3_Model_report.py", model=wanted)
        assert not app.exception
        assert app.selectbox(key="model").value == found


def test_the_app_needs_no_training_package() -> None:
    modules = (
        "covid_core.ui.dataset_page, covid_core.ui.report_page, covid_core.ui.result_downloads, covid_core.cli.main"
    )
    code = f"import {modules}, sys; print(sorted({{'tensorflow', 'keras', 'sklearn', 'scipy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
