import pytest
from streamlit.testing.v1 import AppTest

from tests.app.conftest import METADATA, OpenPage, texts

PAGE = "pages/2_Dataset.py"
SECTIONS = ("Overview", "Images", "Table", "Cohort", "Audit")
SHORTER = "\n".join(METADATA.splitlines()[:3])


@pytest.fixture
def page(dataset: object, open_page: OpenPage) -> AppTest:
    assert dataset
    return open_page(PAGE)


def counted(app: AppTest) -> str:
    """The line that says how much is left."""
    assert not app.exception
    return next(one.value for one in app.markdown if "** countr" in one.value).replace("*", "")


def upload(app: AppTest, table: str) -> AppTest:
    return app.file_uploader[0].upload("metadata.csv", table.encode(), "text/csv").run()


def test_each_filter_narrows_the_counts_until_it_is_cleared(page: AppTest) -> None:
    assert counted(page).startswith("6 images, 5 patients, 2 sources, 0 countries")
    assert counted(page).endswith("Not COVID-19 2, COVID-19 3, no class 1")
    for key, choice, images, patients in [
        ("finding", "Viral", 4, 3),
        ("finding", "not given", 1, 1),
        ("view", "PA", 3, 3),
        ("sex", "F", 2, 2),
        ("modality", "CT", 1, 1),
        ("class", "covid", 3, 2),
        ("source", "two.example", 3, 3),
        ("cohort", "in_cohort", 2, 2),
        ("cohort", "x_ray", 1, 1),
    ]:
        page.multiselect(key=key).select(choice).run()
        assert counted(page).startswith(f"{images} of 6 images, {patients} patient"), key
        page.button(key="clear_filters").click().run()
        assert counted(page).startswith("6 images")
    page.slider(key="age").set_range(55, 65).run()
    assert counted(page).startswith("2 of 6 images")
    page.text_input(key="text").input("FIRST a.png").run()
    assert counted(page).startswith("1 of 6 images")
    page.button(key="clear_filters").click().run()
    page.segmented_control(key="file").set_value("available").run()
    assert counted(page).startswith("2 of 6 images, 2 patients")
    page.pills(key="section").set_value("Table").run()
    assert sorted(page.dataframe[0].value["filename"]) == ["a.png", "c.png"]


def test_a_link_restores_filters_section_rules_and_the_open_image(dataset: object, open_page: OpenPage) -> None:
    assert dataset
    wanted = {
        "finding": "Viral",
        "view": "PA",
        "age": ["0", "55"],
        "text": "c.png",
        "section": "Table",
        "seed": "5",
        "shares": ["60", "75"],
        "ambiguous": "as labelled",
        "supine": "false",
        "film": "c.png",
    }
    app = open_page(PAGE, **wanted)
    assert counted(app).startswith("1 of 6 images")
    assert list(app.dataframe[0].value["filename"]) == ["c.png"]
    assert (app.text_input(key="seed").value, app.slider(key="shares").value) == ("5", (60, 75))
    assert (app.segmented_control(key="ambiguous").value, app.toggle(key="supine").value) == ("non_covid", False)
    assert "Pneumonia/Viral/SARS" in texts(app)
    assert app.query_params == wanted
    assert app.run().query_params == wanted


@pytest.mark.parametrize(
    "value", ["", "nan", "inf", "1e400", "-1", "9" * 400, "\x00", "<b>", "../../x", ["1e400", "nan"], ["-inf", "99"]]
)
@pytest.mark.parametrize("section", ["Images", "Table", "Cohort"])
def test_a_hostile_link_never_crashes_the_page(
    dataset: object, open_page: OpenPage, section: str, value: str | list[str]
) -> None:
    assert dataset
    keys = "finding class view modality sex source country rt_pcr licence cohort part age file"
    keys += " ambiguous supine shares seed page sort columns film"
    app = open_page(PAGE, section=section, **dict.fromkeys(keys.split(), value))
    assert counted(app).startswith("6 images")
    assert counted(open_page(PAGE, section=section, text=value))


def test_a_stale_link_keeps_what_the_table_still_has(dataset: object, open_page: OpenPage) -> None:
    assert dataset
    app = open_page(PAGE, finding="Plague", view=["PA", "<script>"], age=["55", "45"])
    assert app.query_params["view"] == "PA"
    assert "finding" not in app.query_params
    assert counted(app).startswith("1 of 6 images")  # from 45 to 55 years


def test_a_link_to_a_part_of_the_split_is_met_once_the_images_were_read(
    phantom_dataset: object, monkeypatch: pytest.MonkeyPatch, open_page: OpenPage
) -> None:
    monkeypatch.setenv("COVID_DATASET_DIR", str(phantom_dataset))
    app = open_page(PAGE, part="Test", section="Cohort")
    assert " of " not in counted(app)
    app.button(key="cohort_read").click().run()
    assert app.multiselect(key="part").value == ["test"]
    assert " of " in counted(app)


def test_who_comes_back_from_another_page_finds_filters_rules_and_upload(dataset: object, open_page: OpenPage) -> None:
    assert dataset
    app = open_page(PAGE, front_door=True)
    upload(app, SHORTER)
    app.multiselect(key="view").select("PA").run()
    app.text_input(key="seed").input("5").run()
    app.switch_page("pages/1_Predict.py").run()
    app.query_params.clear()
    app.switch_page(PAGE).run()
    assert app.multiselect(key="view").value == ["PA"]
    assert (app.query_params["view"], app.query_params["seed"]) == ("PA", "5")
    assert counted(app).startswith("1 of 2 images")
    app.button(key="back_to_installed").click().run()
    assert counted(app).startswith("3 of 6 images")
    assert not app.session_state["table_of_visitor"]


def test_another_table_keeps_the_filters_that_it_can_meet(page: AppTest) -> None:
    page.multiselect(key="view").select("PA")
    page.multiselect(key="finding").select("SARS").run()
    assert counted(page).startswith("1 of 6 images")
    upload(page, SHORTER.replace(",60,", ",720,"))
    assert (page.multiselect(key="view").value, page.multiselect(key="finding").value) == (["PA"], [])
    assert counted(page).startswith("1 of 2 images")
    page.button(key="clear_filters").click().run()
    assert counted(page).startswith("2 images")
    assert page.button(key="clear_filters").disabled


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_works_with_files_with_a_table_alone_and_with_no_row_left(page: AppTest, section: str) -> None:
    page.pills(key="section").set_value(section).run()
    assert counted(page).startswith("6 images")
    page.multiselect(key="modality").select("CT")
    page.multiselect(key="view").select("PA").run()
    assert counted(page).startswith("0 of 6 images")
    page.button(key="clear_filters").click().run()
    upload(page, METADATA)
    assert counted(page).startswith("6 images")


def test_each_chart_is_there_in_numbers_as_well(page: AppTest) -> None:
    assert not page.table
    names = (
        "findings",
        "views",
        "sources",
        "age-and-sex",
        "images-of-a-patient",
        "days",
        "outcomes",
        "not-given",
        "places",
    )
    for name in names:
        page.session_state[f"numbers of {name}"] = True
    page.run()
    assert not page.exception
    assert len(page.table) == len(names)
    findings, views = (one.value for one in page.table[:2])
    assert findings["images"][r"Pneumonia/Viral/COVID\-19"] == "3"
    assert views.loc["PA"].to_dict() == {"Not COVID-19": "1", "COVID-19": "1", "not given": "1"}
