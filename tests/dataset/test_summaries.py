import pandas as pd
import pytest

from covid_core.dataset.filters import choices, finding_counts, with_choices
from covid_core.dataset.metadata import read_metadata
from covid_core.dataset.summaries import (
    age_sex_pyramid,
    cohort_sentence,
    counts,
    days_since_onset,
    finding_hierarchy,
    images_by_country,
    images_per_patient,
    missingness,
    outcomes,
    shown_table,
    source_by_label,
    view_by_label,
)
from covid_core.figures.dataset import stacked_counts
from covid_core.figures.explorer import finding_treemap

TABLE = b"""\
patientid,sex,finding,view,modality,filename,url,clinical_notes
1,M,Pneumonia/Viral/COVID-19,PA,X-ray,a.png,https://one.example/1,short
1,M,"COVID-19, ARDS",AP,X-ray,b.png,https://one.example/2,
2,,Pneumonia/Viral/SARS,PA,X-ray,c.png,https://two.example/1,
3,F,todo,PA,CT,d.png,,
"""


@pytest.fixture
def table() -> pd.DataFrame:
    return with_choices(read_metadata(TABLE))


def test_a_table_is_counted_and_choices_stand_by_how_common_they_are(table: pd.DataFrame) -> None:
    assert choices(table, "view") == ["PA", "AP"]
    assert next(iter(finding_counts(table))) in {"Pneumonia", "Viral", "COVID-19"}
    assert "todo" not in finding_counts(table)
    counted = counts(table)
    assert (counted.images, counted.patients, counted.sources, counted.unlabelled) == (4, 3, 2, 1)
    assert counted.by_label == {"non_covid": 1, "covid": 2}
    assert counts(table.iloc[:0]).by_label == {"non_covid": 0, "covid": 0}


def test_sources_are_crossed_with_classes_and_the_rare_ones_are_added_up(table: pd.DataFrame) -> None:
    crossed = source_by_label(table)
    assert list(crossed.columns) == ["non_covid", "covid", "not given"]
    assert dict(zip(crossed.index, crossed.to_numpy().tolist(), strict=True)) == {
        "one.example": [0, 2, 0],
        "two.example": [1, 0, 0],
        "not given": [0, 0, 1],
    }
    few = source_by_label(table, most=2)
    assert dict(zip(few.index, few.to_numpy().tolist(), strict=True)) == {
        "one.example": [0, 2, 0],
        "2 others": [1, 0, 1],
    }
    views = view_by_label(table)
    assert (list(views.loc["PA"]), list(views.loc["AP"])) == ([1, 1, 1], [0, 1, 0])


def test_a_patient_with_both_classes_counts_in_both() -> None:
    cohort = pd.DataFrame({"label": ["covid", "non_covid", "covid"], "patientid": ["1", "1", "2"]})
    assert cohort_sentence(cohort) == (
        "The cohort. Not COVID-19: 1 images of 1 patients. COVID-19: 2 images of 2 patients."
    )


def test_long_notes_are_cut_and_classes_are_titled() -> None:
    long_note = TABLE.replace(b"short", b"x" * 5000)
    shown = shown_table(with_choices(read_metadata(long_note)))
    assert len(shown["notes"][0]) == 200
    assert shown["notes"][0].endswith("…")
    assert list(shown["label"]) == ["COVID-19", "COVID-19", "Not COVID-19", "not given"]


PEOPLE = b"""\
patientid,sex,age,offset,survival,finding,view,modality,filename,location
1,M,39,0,Y,Pneumonia/Viral/COVID-19,PA,X-ray,a.png,"Milan, Italy"
1,M,40,6,,Pneumonia/Viral/COVID-19,PA,X-ray,b.png,"Milan, Italy"
2,F,95,-4,N,Pneumonia,PA,X-ray,c.png,"Wuhan, China"
3,X,-1,,maybe,todo,PA,X-ray,d.png,
4,F,,400,n,"Pneumonia/Viral/SARS",PA,X-ray,e.png,nowhere
"""


@pytest.fixture
def people() -> pd.DataFrame:
    return with_choices(read_metadata(PEOPLE))


def test_findings_stand_in_a_tree_whose_branches_add_up(people: pd.DataFrame) -> None:
    assert finding_hierarchy(people).to_numpy().tolist() == [
        ["Pneumonia", "", "Pneumonia", 4],
        ["Pneumonia/Viral", "Pneumonia", "Viral", 3],
        ["Pneumonia/Viral/COVID-19", "Pneumonia/Viral", "COVID-19", 2],
        ["Pneumonia/Viral/SARS", "Pneumonia/Viral", "SARS", 1],
        ["not given", "", "not given", 1],
    ]


def test_a_patient_stands_once_in_the_pyramid_with_the_first_age(people: pd.DataFrame) -> None:
    pyramid = age_sex_pyramid(people)
    assert list(pyramid.index)[:2] == ["0-9", "10-19"]
    assert (pyramid.loc["30-39", "M"], pyramid.loc["40-49", "M"]) == (1, 0)
    assert (pyramid.loc["90+", "F"], pyramid.loc["not given", "F"]) == (1, 1)
    assert pyramid.loc["not given", "not given"] == 1  # the age of -1 and the sex X
    assert pyramid.to_numpy().sum() == 4


def test_patients_are_counted_by_their_images_without_a_gap() -> None:
    table = pd.DataFrame({"patientid": ["1"] * 3 + ["2"] + ["3"] * 12})
    assert dict(images_per_patient(table)) == {
        **{str(number): 0 for number in range(1, 11)},
        "1": 1,
        "3": 1,
        "11+": 1,
    }
    assert dict(images_per_patient(table.iloc[:0])) == {}


@pytest.mark.timeout(20)
def test_a_table_made_to_keep_the_page_busy_is_drawn_all_the_same() -> None:
    """A finding of 30,000 components, a thousand findings and a thousand views; drawing the first took seven minutes."""
    head = "patientid,finding,view,modality,filename\n"
    deep = with_choices(read_metadata(f"{head}1,{'a/' * 30_000}b,PA,X-ray,a.png\n".encode()))
    assert len(finding_hierarchy(deep)) == 12
    many = "".join(f"{number},Pneumonia/{number},view {number},X-ray,{number}.png\n" for number in range(1_000))
    wide = with_choices(read_metadata((head + many).encode()))
    tree = finding_hierarchy(wide)
    assert len(tree) == 300
    assert set(tree["parent"]) == {"", "Pneumonia"}
    views = view_by_label(wide)
    assert views.index[-1] == "991 others"
    assert views.to_numpy().sum() == 1_000
    assert finding_treemap(tree).to_json()
    assert stacked_counts(views, "View", "images").layout.height < 600


def test_days_since_onset_include_their_first_day(people: pd.DataFrame) -> None:
    days = days_since_onset(people)
    assert list(days.index) == ["before 0", "0-2", "3-6", "7-13", "14-20", "21-27", "28+", "not given"]
    assert days.sum(axis=1).tolist() == [1, 1, 1, 0, 0, 0, 1, 1]
    assert days.loc["3-6"].to_dict() == {"non_covid": 0, "covid": 1, "not given": 0}


def test_outcomes_are_yes_no_unclear_or_not_given(people: pd.DataFrame) -> None:
    assert outcomes(people).loc["Survived"].to_dict() == {"yes": 1, "no": 2, "unclear": 1, "not given": 1}


def test_what_is_not_given_is_counted_by_column_and_class(people: pd.DataFrame) -> None:
    missing = missingness(people, people)
    assert missing.images.to_dict() == {"all": 5, "non_covid": 2, "covid": 2, "not given": 1}
    assert missing.blanks.loc["finding"].to_dict() == {"all": 1, "non_covid": 0, "covid": 0, "not given": 1}
    assert missing.blanks.loc["age"].to_dict() == {"all": 1, "non_covid": 1, "covid": 0, "not given": 0}
    assert missing.blanks.loc["url", "all"] == 5


def test_countries_stand_by_their_images_and_the_untold_last(people: pd.DataFrame) -> None:
    assert images_by_country(people)[["code", "name", "images", "patients"]].to_numpy().tolist() == [
        ["IT", "Italy", 2, 1],
        ["CN", "China", 1, 1],
        ["not given", "not given", 2, 2],
    ]
    assert counts(people).countries == 2


def test_an_overview_of_nothing_is_empty_and_no_error(people: pd.DataFrame) -> None:
    nothing = people.iloc[:0]
    assert finding_hierarchy(nothing).empty
    assert images_by_country(nothing).empty
    counted = (
        age_sex_pyramid(nothing),
        days_since_onset(nothing),
        outcomes(nothing),
        missingness(nothing, people).blanks,
    )
    assert [table.to_numpy().sum() for table in counted] == [0] * 4
