import pandas as pd
import pytest

from covid_core.data.metadata import read_metadata
from covid_core.data.overview import (
    Filters,
    choices,
    cohort_sentence,
    counts,
    film_facts,
    filtered,
    finding_choices,
    shown_table,
    top_counts,
    view_by_label,
    with_choices,
)

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


def files(table: pd.DataFrame) -> list[str]:
    return list(table["filename"])


def test_no_filter_keeps_every_row(table: pd.DataFrame) -> None:
    assert files(filtered(table, Filters())) == ["a.png", "b.png", "c.png", "d.png"]


def test_a_general_finding_keeps_the_particular_ones_below_it(table: pd.DataFrame) -> None:
    assert files(filtered(table, Filters(findings=["Viral"]))) == ["a.png", "c.png"]


def test_a_finding_is_found_in_both_vocabularies(table: pd.DataFrame) -> None:
    assert files(filtered(table, Filters(findings=["COVID-19"]))) == ["a.png", "b.png"]


def test_values_of_one_filter_add_up_and_filters_narrow_each_other(table: pd.DataFrame) -> None:
    assert files(filtered(table, Filters(sexes=["M", "not given"], views=["PA"]))) == ["a.png", "c.png"]


def test_a_missing_finding_can_be_chosen(table: pd.DataFrame) -> None:
    assert "todo" not in finding_choices(table)
    assert files(filtered(table, Filters(findings=["not given"]))) == ["d.png"]
    assert files(filtered(table, Filters(labels=["not given"]))) == ["d.png"]


def test_choices_stand_by_how_common_they_are(table: pd.DataFrame) -> None:
    assert choices(table, "view") == ["PA", "AP"]
    assert finding_choices(table)[0] in {"Pneumonia", "Viral", "COVID-19"}


def test_counts_are_of_images_patients_sources_and_classes(table: pd.DataFrame) -> None:
    counted = counts(table)
    assert (counted.images, counted.patients, counted.sources, counted.unlabelled) == (4, 3, 2, 1)
    assert counted.by_label == {"non_covid": 1, "covid": 2}


def test_an_empty_table_counts_to_nothing(table: pd.DataFrame) -> None:
    assert counts(table.iloc[:0]).by_label == {"non_covid": 0, "covid": 0}


def test_what_is_rare_is_added_up(table: pd.DataFrame) -> None:
    assert dict(top_counts(table, "diagnosis", most=2)) == {"COVID-19": 1, "3 others": 3}


def test_views_are_crossed_with_classes(table: pd.DataFrame) -> None:
    crossed = view_by_label(table)
    assert list(crossed.columns) == ["non_covid", "covid", "not given"]
    assert list(crossed.loc["PA"]) == [1, 1, 1]
    assert list(crossed.loc["AP"]) == [0, 1, 0]


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


def test_a_film_is_described_by_what_the_table_gives_of_it() -> None:
    table = read_metadata(TABLE)
    first, third = film_facts(table, "a.png"), film_facts(table, "c.png")
    assert first is not None
    assert (first.sentence, first.url) == ("Pneumonia/Viral/COVID-19, PA, M.", "https://one.example/1")
    assert third is not None
    assert third.sentence == "Pneumonia/Viral/SARS, PA."
    assert film_facts(table, "unheard of.png") is None


def test_an_address_that_is_no_web_page_is_not_given_as_one() -> None:
    table = read_metadata(TABLE.replace(b"https://one.example/1", b"javascript:alert(1)"))
    facts = film_facts(table, "a.png")
    assert facts is not None
    assert facts.url is None
