from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.conftest import METADATA, OpenPage, texts

PAGE = "pages/2_Dataset.py"
SECTIONS = ("Overview", "Images", "Table", "Cohort", "Audit")


@pytest.fixture
def page(dataset: Path, open_page: OpenPage) -> AppTest:
    assert dataset.is_dir()
    return open_page(PAGE)


def counted(app: AppTest) -> str:
    """The line that says how much is left."""
    return next(one.value for one in app.markdown if "** countr" in one.value).replace("*", "")


def test_the_counts_are_those_of_the_table(page: AppTest) -> None:
    assert not page.exception
    assert counted(page).startswith("6 images, 5 patients, 2 sources, 0 countries")
    assert counted(page).endswith("Not COVID-19 2, COVID-19 3, no class 1")


@pytest.mark.parametrize(
    ("key", "choice", "images", "patients"),
    [
        ("finding", "Viral", 4, 3),
        ("finding", "not given", 1, 1),
        ("view", "PA", 3, 3),
        ("sex", "F", 2, 2),
        ("sex", "not given", 1, 1),
        ("modality", "CT", 1, 1),
        ("class", "covid", 3, 2),
        ("source", "two.example", 3, 3),
        ("cohort", "in_cohort", 2, 2),
        ("cohort", "x_ray", 1, 1),
    ],
)
def test_a_filter_narrows_every_section_and_the_address_keeps_it(
    page: AppTest, key: str, choice: str, images: int, patients: int
) -> None:
    page.multiselect(key=key).select(choice).run()
    assert not page.exception
    assert counted(page).startswith(f"{images} of 6 images, {patients} patient")
    assert page.query_params[key] == choice
    page.pills(key="section").set_value("Table").run()
    assert counted(page).startswith(f"{images} of 6 images")
    assert len(page.dataframe[0].value) == images


def test_age_file_and_notes_narrow_as_well(page: AppTest) -> None:
    page.slider(key="age").set_range(55, 65).run()
    assert counted(page).startswith("2 of 6 images")
    assert (page.query_params["age_from"], page.query_params["age_to"]) == ("55", "65")
    page.text_input(key="text").input("FIRST").run()
    assert counted(page).startswith("1 of 6 images")
    page.button(key="clear_filters").click().run()
    assert counted(page).startswith("6 images")
    assert not set(page.query_params) & {"age_from", "age_to", "text"}
    page.segmented_control(key="file").set_value("Here").run()
    assert counted(page).startswith("2 of 6 images, 2 patients")


@pytest.mark.usefixtures("dataset")
def test_an_address_brings_its_filters_and_its_section_back() -> None:
    app = AppTest.from_file(str(Path(PAGE).resolve()), default_timeout=60)
    for key, value in {"finding": ["Viral"], "view": ["PA"], "age_to": ["55"], "section": ["Table"]}.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    assert counted(app).startswith("1 of 6 images")
    assert list(app.dataframe[0].value["filename"]) == ["c.png"]


@pytest.mark.usefixtures("dataset")
def test_what_an_address_asks_for_and_the_table_does_not_have_is_passed_over() -> None:
    app = AppTest.from_file(str(Path(PAGE).resolve()), default_timeout=60)
    app.query_params["finding"] = ["Plague"]
    app.query_params["view"] = ["PA", "<script>"]
    app.query_params["age_from"] = "old"
    app.run()
    assert not app.exception
    assert counted(app).startswith("3 of 6 images")
    assert "finding" not in app.query_params
    assert app.query_params["view"] == "PA"


def test_a_browser_that_sends_an_older_address_of_its_own_does_not_undo_what_was_chosen(page: AppTest) -> None:
    page.multiselect(key="view").select("PA").run()
    page.multiselect(key="sex").select("M").run()
    del page.query_params["sex"]  # as the address was before the last choice
    page.multiselect(key="modality").select("X-ray").run()
    assert page.multiselect(key="sex").value == ["M"]
    assert counted(page).startswith("1 of 6 images")


def test_filters_that_nothing_meets_are_said_to_be_so(page: AppTest) -> None:
    page.multiselect(key="modality").select("CT")
    page.multiselect(key="view").select("PA").run()
    assert not page.exception
    assert "No image meets all of these filters" in page.info[0].value


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_is_shown_with_films_and_with_a_table_alone(page: AppTest, section: str) -> None:
    app = page
    app.pills(key="section").set_value(section).run()
    assert not app.exception
    app.file_uploader[0].upload("metadata.csv", METADATA.encode(), "text/csv").run()
    assert not app.exception
    assert counted(app).startswith("6 images")


@pytest.mark.usefixtures("dataset")
def test_an_address_opens_an_image() -> None:
    app = AppTest.from_file(str(Path(PAGE).resolve()), default_timeout=60)
    app.query_params["film"] = "c.png"
    app.run()
    assert not app.exception
    assert "Pneumonia/Viral/SARS" in texts(app)


def test_an_uploaded_table_stands_in_for_the_installed_one_and_filters_it_cannot_meet_go(page: AppTest) -> None:
    shorter = "\n".join(METADATA.splitlines()[:3])
    page.multiselect(key="finding").select("SARS").run()
    page.file_uploader[0].upload("metadata.csv", shorter.encode(), "text/csv").run()
    assert not page.exception
    assert counted(page).startswith("2 images")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "The table is empty"), (b"a,b\n1,2\n", "The table is not a CSV"), (b"\x00\x01", "The table is not a CSV")],
)
def test_a_bad_table_is_answered_with_a_sentence(page: AppTest, content: bytes, sentence: str) -> None:
    page.file_uploader[0].upload("metadata.csv", content, "text/csv").run()
    assert not page.exception
    assert sentence in page.error[0].value.replace("\\", "")


def test_markdown_in_a_bad_table_is_not_rendered(page: AppTest) -> None:
    page.file_uploader[0].upload("metadata.csv", b"![x](http://example.org/x.png),b\n1,2\n", "text/csv").run()
    assert "![x]" not in page.error[0].value
    assert r"\!\[x\]\(http" in page.error[0].value
