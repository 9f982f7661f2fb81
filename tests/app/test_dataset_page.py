from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covid_core.ui import address
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
    assert "what this table does not have: Finding: Plague; View: <script>" in app.info[0].value.replace("\\", "")
    app.multiselect(key="sex").select("M").run()
    assert not app.info


def test_a_link_to_a_part_of_the_split_is_met_once_the_films_were_read(
    phantom_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVID_DATASET_DIR", str(phantom_dataset))
    app = AppTest.from_file(str(Path(PAGE).resolve()), default_timeout=60)
    app.query_params["part"] = "test"
    app.query_params["section"] = "Cohort"
    app.run()
    assert " of " not in counted(app)
    assert "known once the films were read" in app.info[0].value
    app.button(key="cohort_read").click().run()
    assert app.multiselect(key="part").value == ["test"]
    assert not app.info
    assert " of " in counted(app)


def test_what_a_link_could_not_get_is_given_up_once_other_filters_are_chosen(page: AppTest) -> None:
    page.query_params["finding"] = "Plague"
    page.query_params["age_to"] = "120"
    page.run()
    assert "Plague" in page.info[0].value
    page.multiselect(key="view").select("PA").run()
    page.button(key="clear_filters").click().run()
    assert not page.info
    plague = METADATA.replace("Pneumonia/Viral/SARS", "Plague")
    page.file_uploader[0].upload("metadata.csv", plague.encode(), "text/csv").run()
    assert page.multiselect(key="finding").value == []
    assert counted(page).startswith("6 images")


@pytest.mark.usefixtures("dataset")
def test_a_first_run_that_was_cut_short_does_not_lose_what_was_chosen_before_another_page(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("streamlit_app.py")
    app.switch_page(PAGE).run()
    app.multiselect(key="view").select("PA").run()
    app.switch_page("pages/1_Predict.py").run()
    app.query_params.clear()
    with monkeypatch.context() as busy:
        busy.setattr("covid_core.ui.collection_source.dataset_dir", lambda: None)  # the run ends before the filters
        app.switch_page(PAGE).run()
    app.run()
    assert app.multiselect(key="view").value == ["PA"]


def test_the_back_button_brings_the_filters_of_before_back(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "STALE_SECONDS", 0)
    page.multiselect(key="view").select("PA").run()
    page.multiselect(key="sex").select("M").run()
    del page.query_params["sex"]  # as the address was before the last choice
    page.run()
    assert page.multiselect(key="sex").value == []
    assert page.multiselect(key="view").value == ["PA"]


def test_the_back_button_closes_an_image(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "STALE_SECONDS", 0)
    page.query_params["film"] = "c.png"
    page.run()
    assert "Pneumonia/Viral/SARS" in texts(page)
    del page.query_params["film"]
    page.run()
    assert "Pneumonia/Viral/SARS" not in texts(page)


@pytest.mark.usefixtures("dataset")
def test_who_comes_back_from_another_page_finds_filters_and_rules_as_they_were(open_page: OpenPage) -> None:
    app = open_page("streamlit_app.py")
    app.switch_page("pages/2_Dataset.py").run()
    app.multiselect(key="view").select("PA").run()
    app.pills(key="section").set_value("Cohort").run()
    app.number_input(key="cohort_seed").set_value(5).run()
    app.switch_page("pages/1_Predict.py").run()
    app.query_params.clear()
    app.switch_page("pages/2_Dataset.py").run()
    assert app.multiselect(key="view").value == ["PA"]
    assert (app.query_params["view"], app.query_params["seed"]) == ("PA", "5")


def test_another_table_keeps_the_filters_and_narrows_no_age(page: AppTest) -> None:
    page.multiselect(key="view").select("PA").run()
    old = METADATA.replace(",60,", ",720,")
    assert old != METADATA
    page.file_uploader[0].upload("metadata.csv", old.encode(), "text/csv").run()
    assert page.multiselect(key="view").value == ["PA"]
    assert page.slider(key="age").value == (0, 720)
    assert counted(page).startswith("3 of 6 images")
    assert not {"age_from", "age_to"} & set(page.query_params)


def test_no_filter_is_said_to_be_set_in_a_table_without_images(page: AppTest) -> None:
    page.file_uploader[0].upload("metadata.csv", METADATA.encode(), "text/csv").run()
    assert page.button(key="clear_filters").disabled
    assert "More filters" in {one.proto.popover.label for one in page.get("popover")}


@pytest.mark.parametrize("word", ["c.png", "two words", "first"])
def test_words_are_looked_for_in_notes_and_file_names(page: AppTest, word: str) -> None:
    page.text_input(key="text").input(word).run()
    rows = [row for row in METADATA.splitlines()[1:] if all(one in row.lower() for one in word.split())]
    found = 0 if "No image meets" in " ".join(one.value for one in page.info) else int(counted(page).split()[0])
    assert found == len(rows)


def test_a_browser_that_sends_an_older_address_of_its_own_does_not_undo_what_was_chosen(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "STALE_SECONDS", 60)
    page.multiselect(key="view").select("PA").run()
    page.multiselect(key="sex").select("M").run()
    del page.query_params["sex"]  # as the address was before the last choice
    page.multiselect(key="modality").select("X-ray").run()
    assert page.multiselect(key="sex").value == ["M"]
    assert counted(page).startswith("1 of 6 images")


@pytest.mark.parametrize("section", ["Overview", "Images", "Table"])
def test_filters_that_nothing_meets_are_said_to_be_so(page: AppTest, section: str) -> None:
    page.pills(key="section").set_value(section)
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


def test_an_uploaded_table_is_still_there_after_another_page_and_goes_when_it_is_put_away(page: AppTest) -> None:
    shorter = "\n".join(METADATA.splitlines()[:3])
    page.file_uploader[0].upload("metadata.csv", shorter.encode(), "text/csv").run()
    assert counted(page).startswith("2 images")
    page.switch_page("pages/1_Predict.py").run()
    page.switch_page(PAGE).run()
    assert not page.exception
    assert counted(page).startswith("2 images")
    page.button(key="back_to_installed").click().run()
    assert counted(page).startswith("6 images")
    assert not page.session_state["table_of_visitor"]


def test_each_chart_is_there_in_numbers_as_well(page: AppTest) -> None:
    assert not page.table
    names = [
        "findings",
        "views",
        "sources",
        "age-and-sex",
        "images-of-a-patient",
        "days",
        "outcomes",
        "not-given",
        "places",
    ]
    for name in names:
        page.session_state[f"numbers of {name}"] = True
    page.run()
    assert not page.exception
    assert len(page.table) == len(names)
    findings, views = (one.value for one in page.table[:2])
    assert findings["images"][r"Pneumonia/Viral/COVID\-19"] == "3"
    assert views.loc["PA"].to_dict() == {"Not COVID-19": "1", "COVID-19": "1", "not given": "1"}


def test_markdown_in_a_bad_table_is_not_rendered(page: AppTest) -> None:
    page.file_uploader[0].upload("metadata.csv", b"![x](http://example.org/x.png),b\n1,2\n", "text/csv").run()
    assert "![x]" not in page.error[0].value
    assert r"\!\[x\]\(http" in page.error[0].value
