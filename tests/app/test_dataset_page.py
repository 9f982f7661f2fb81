from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.conftest import METADATA, OpenPage, texts

PAGE = "pages/2_Dataset.py"


@pytest.fixture
def page(dataset: Path, open_page: OpenPage) -> AppTest:
    assert dataset.is_dir()
    return open_page(PAGE)


def shown(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_the_counts_are_those_of_the_table(page: AppTest) -> None:
    assert shown(page) == {"Images": "6", "Patients": "5", "Sources": "2", "Not COVID-19": "2", "COVID-19": "3"}
    assert "1 of the images have no finding" in texts(page)


@pytest.mark.parametrize(
    ("key", "choice", "images", "patients"),
    [
        ("finding", "Viral", "4", "3"),
        ("finding", "not given", "1", "1"),
        ("view", "PA", "3", "3"),
        ("sex", "F", "2", "2"),
        ("sex", "not given", "1", "1"),
        ("modality", "CT", "1", "1"),
        ("label", "covid", "3", "2"),
    ],
)
def test_a_filter_changes_counts_and_table(page: AppTest, key: str, choice: str, images: str, patients: str) -> None:
    page.multiselect(key=key).select(choice).run()
    assert not page.exception
    assert (shown(page)["Images"], shown(page)["Patients"]) == (images, patients)
    assert len(page.dataframe[0].value) == int(images)


def test_filters_that_nothing_meets_are_said_to_be_so(page: AppTest) -> None:
    page.multiselect(key="modality").select("CT")
    page.multiselect(key="view").select("PA").run()
    assert not page.exception
    assert "No image meets all of these filters" in page.info[0].value


def test_the_flow_counts_the_whole_table_whatever_is_filtered(page: AppTest) -> None:
    before = page.table[0].value
    page.multiselect(key="view").select("PA").run()
    assert page.table[0].value.equals(before)
    assert list(before["Images"]) == ["6", "5", "5", "4", "2", "2"]
    assert list(before["Patients left out"]) == ["0", "1", "0", "1", "1", "0"]


def test_a_rule_changes_the_flow(page: AppTest) -> None:
    page.toggle(key="supine").set_value(False).run()
    assert list(page.table[0].value["Images"]) == ["6", "5", "4", "3", "2", "2"]


@pytest.mark.usefixtures("no_dataset")
def test_an_uploaded_table_is_shown_without_looking_for_files(open_page: OpenPage) -> None:
    app = open_page(PAGE)
    app.file_uploader[0].upload("metadata.csv", METADATA.encode(), "text/csv").run()
    assert not app.exception
    assert shown(app)["Images"] == "6"
    assert "no step asks whether a file exists" in texts(app)


def test_an_uploaded_table_stands_in_for_the_installed_one(page: AppTest) -> None:
    shorter = "\n".join(METADATA.splitlines()[:3])
    page.multiselect(key="finding").select("SARS").run()
    page.file_uploader[0].upload("metadata.csv", shorter.encode(), "text/csv").run()
    assert not page.exception
    assert shown(page)["Images"] == "2"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "The table is empty"), (b"a,b\n1,2\n", "not a CSV with the columns"), (b"\x00\x01", "not a CSV text file")],
)
def test_a_bad_table_is_answered_with_a_sentence(page: AppTest, content: bytes, sentence: str) -> None:
    page.file_uploader[0].upload("metadata.csv", content, "text/csv").run()
    assert not page.exception
    assert sentence in page.error[0].value.replace("\\", "")


def test_markdown_in_a_bad_table_is_not_rendered(page: AppTest) -> None:
    page.file_uploader[0].upload("metadata.csv", b"![x](http://example.org/x.png),b\n1,2\n", "text/csv").run()
    assert "![x]" not in page.error[0].value
    assert r"\!\[x\]\(http" in page.error[0].value
