"""The checks of an audit that the table answers; every expected count was counted in it by eye."""

from datetime import date

import pytest

from covid_core.data.audit import audit_dataset
from covid_core.data.audit_table import date_readings, dated
from covid_core.data.metadata import MOST_UNREADABLE
from tests.data.audited_tables import COVID, OTHER, audited, names, table_of


def test_a_patient_with_films_of_both_classes_is_counted_once() -> None:
    found = audited(
        {"patientid": "a", "finding": COVID},
        {"patientid": "a", "finding": OTHER},
        {"patientid": "a", "finding": OTHER},
        {"patientid": "b", "finding": COVID},
        {"patientid": "c", "finding": COVID},
        {"patientid": "c", "finding": OTHER, "modality": "CT", "view": "Axial"},
    ).of("both_labels")
    assert (found.count, found.severity) == (1, "warning")
    assert names(found) == ["film-0.png", "film-1.png", "film-2.png"]
    assert found.rows["what"].tolist() == ["COVID-19", "Not COVID-19", "Not COVID-19"]
    assert found.sentence.startswith("1 patient has frontal films of both classes.")


def test_no_finding_films_of_covid_patients_are_told_even_if_the_covid_image_is_a_ct() -> None:
    found = audited(
        {"patientid": "a", "finding": COVID, "modality": "CT", "view": "Axial"},
        {"patientid": "a", "finding": "No Finding"},
        {"patientid": "b", "finding": "No Finding"},
        {"patientid": "a", "finding": "No Finding", "view": "L"},
    ).of("no_finding_of_covid_patients")
    assert names(found) == ["film-1.png"]
    assert found.rows["what"].tolist() == ["No Finding, COVID-19 on another image"]


def test_impossible_ages_and_offsets_are_errors_and_blanks_are_not() -> None:
    audit = audited(
        {"age": -1, "offset": -360},
        {"age": 121, "offset": 3651},
        {"age": 120, "offset": -4000},
        {"age": 0, "offset": 3650},
        {"age": "", "offset": ""},
    )
    assert names(audit.of("ages")) == ["film-0.png", "film-1.png"]
    assert audit.of("ages").rows["what"].tolist() == ["age -1 years", "age 121 years"]
    assert names(audit.of("offsets")) == ["film-1.png", "film-2.png"]
    assert [finding.check for finding in audit.at_least("error")] == ["ages", "offsets"]


def test_an_impossible_temperature_and_saturation_of_one_row_count_as_one_row() -> None:
    found = audited({"temperature": 95, "pO2_saturation": 340}, {"temperature": 38.5}).of("measurements")
    assert found.count == 1
    assert found.rows["what"].tolist() == ["temperature 95 °C", "oxygen saturation 340 %"]


def test_dates_that_cannot_be_are_told_from_those_that_say_too_little() -> None:
    audit = audited(
        {"date": "January 22, 2020", "finding": COVID},
        {"date": "2999"},
        {"date": "1890"},
        {"date": "2018", "finding": COVID},
        {"date": "2018"},
        {"date": "2019", "finding": COVID},
        {"date": "November 2019", "finding": COVID},
        {"date": "January 12"},
        {"date": "2020-03-04 10:00", "finding": COVID},
    )
    assert names(audit.of("dates")) == ["film-1.png", "film-2.png", "film-3.png", "film-6.png"]
    assert names(audit.of("unclear_dates")) == ["film-7.png"]


def test_a_day_that_no_month_has_is_an_impossible_date_and_words_are_an_unclear_one() -> None:
    impossible = ("Feb 30, 2020", "31/04/2020", "31.04.20", "2019-02-29", "2020-13-01", "31st of June 2020", "0/0/2020")
    unclear = ("last spring", "3 Smarch 2020", "2019-20", "03/2020/04", "2020-03-04 25:00")
    audit = audited(*({"date": text} for text in (*impossible, *unclear)))
    assert audit.of("dates").severity == "error"
    assert audit.of("dates").rows["what"].tolist() == [f"{text} is in no calendar" for text in impossible]
    assert audit.of("unclear_dates").rows["what"].tolist() == [f"date: {text}" for text in unclear]


def test_a_date_is_impossible_only_if_the_month_may_stand_at_neither_place() -> None:
    """12 January 2019 was before COVID-19 and 1 December was not; 10 November and 11 October both were."""
    audit = audited({"date": "01/12/2019", "finding": COVID}, {"date": "11/10/2019", "finding": COVID})
    assert names(audit.of("dates")) == ["film-1.png"]
    assert date_readings("01/12/2019") == (
        (date(2019, 1, 12), date(2019, 1, 12)),
        (date(2019, 12, 1), date(2019, 12, 1)),
    )


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2016", date(2016, 1, 1), date(2016, 12, 31)),
        ("Feb 2020", date(2020, 2, 1), date(2020, 2, 29)),
        ("September 16, 2009", date(2009, 9, 16), date(2009, 9, 16)),
        ("Sept 16, 2009", date(2009, 9, 16), date(2009, 9, 16)),
        ("01/13/20", date(2020, 1, 13), date(2020, 1, 13)),
        ("3 March 2020", date(2020, 3, 3), date(2020, 3, 3)),
        ("2020-02", date(2020, 2, 1), date(2020, 2, 29)),
        ("02/2020", date(2020, 2, 1), date(2020, 2, 29)),
        ("3/4/2020", date(2020, 3, 4), date(2020, 3, 4)),
        ("31/3/2020", date(2020, 3, 31), date(2020, 3, 31)),
        ("4.3.2020", date(2020, 3, 4), date(2020, 3, 4)),
        ("2020/03/04", date(2020, 3, 4), date(2020, 3, 4)),
        ("2020-03-04 10:00", date(2020, 3, 4), date(2020, 3, 4)),
        ("2020-03-04T10:00:59.5+01:00", date(2020, 3, 4), date(2020, 3, 4)),
        ("3/4/2020 9:05 PM", date(2020, 3, 4), date(2020, 3, 4)),
        ("March 3rd, 2020", date(2020, 3, 3), date(2020, 3, 3)),
        ("22nd of march 2020", date(2020, 3, 22), date(2020, 3, 22)),
        ("3-Mar-20", date(2020, 3, 3), date(2020, 3, 3)),
        ("12/31/29", date(2029, 12, 31), date(2029, 12, 31)),
        ("1/1/30", date(1930, 1, 1), date(1930, 1, 1)),
    ],
)
def test_a_date_means_from_its_first_day_to_its_last(text: str, first: date, last: date) -> None:
    assert dated(text) == (first, last)


def test_unknown_views_modalities_and_words_are_told() -> None:
    audit = audited(
        {"view": "AP Erect"},
        {"view": ""},
        {"view": "Axial"},
        {"view": "Coronal", "modality": "CT"},
        {"modality": "MRI"},
        {"finding": "Pneumonia/Viral/Rhino"},
        {"finding": "COVID-19, ARDS"},
        {"finding": "todo"},
    )
    assert names(audit.of("views")) == ["film-0.png", "film-1.png", "film-2.png"]
    assert audit.of("views").rows["what"].tolist() == ["view: AP Erect", "no view is given", "view: Axial"]
    assert names(audit.of("modalities")) == ["film-4.png"]
    assert (names(audit.of("findings")), audit.of("findings").severity) == (["film-5.png"], "warning")


def test_a_misspelt_covid_is_an_error_since_it_would_count_as_a_negative() -> None:
    found = audited({"finding": "Pneumonia/Viral/COVID19"}, {"finding": "COVID-19/Covid-new"}).of("findings")
    assert (found.count, found.severity) == (2, "error")
    assert found.rows["what"].tolist() == ["finding: COVID19 (counts as Not COVID-19)", "finding: Covid-new"]


def test_sources_with_one_class_are_counted_and_their_films_listed() -> None:
    found = audited(
        {"url": "https://a.example/1", "finding": COVID},
        {"url": "https://a.example/2", "finding": OTHER},
        {"url": "https://b.example/1", "finding": COVID},
        {"url": "https://b.example/2", "finding": COVID},
        {"url": "https://c.example/1", "finding": OTHER},
        {"finding": OTHER},
        {"url": "https://a.example/3", "finding": OTHER},
        {"url": "https://a.example/4", "finding": "todo"},
        {"url": "https://a.example/5", "finding": OTHER, "view": "L"},
        {"url": "https://a.example/6", "finding": OTHER, "view": "AP"},
    ).of("one_class_sources")
    assert found.count == 2
    assert names(found) == ["film-2.png", "film-3.png", "film-4.png"]
    assert "3 films (38%)" in found.sentence, "3 of 8 labelled frontal films"


def test_a_cell_that_no_date_could_fill_is_looked_at_in_no_time() -> None:
    for begins in ("2020-03-04 10:00", "March 3", "3 of", "3 March,"):
        assert date_readings(begins + " " * 100_000 + "x") is None


def test_numbers_that_are_none_are_told_with_what_stood_there_and_blanks_are_not() -> None:
    audit = audited(
        {"age": "56 years", "offset": "3"},
        {"age": "45,5", "temperature": "38.5"},
        {"age": "", "offset": "n/a"},
        {"age": "045Y", "pO2_saturation": "88%"},
    )
    found = audit.of("unreadable_numbers")
    assert (found.count, found.severity) == (3, "warning")
    assert names(found) == ["film-0.png", "film-3.png", "film-3.png"]
    assert found.rows["what"].tolist() == ["age: 56 years", "age: 045Y", "pO2_saturation: 88%"]
    assert audit.of("ages").count == 0


def test_of_very_many_numbers_that_are_none_the_first_are_listed_and_all_counted() -> None:
    found = audited(*[{"age": "56 years"}] * (MOST_UNREADABLE + 5)).of("unreadable_numbers")
    assert (found.count, len(found.rows)) == (MOST_UNREADABLE + 5, MOST_UNREADABLE)
    assert f"The first {MOST_UNREADABLE} are listed." in found.sentence


def test_the_rows_of_a_part_of_a_table_keep_what_stood_in_them() -> None:
    part = table_of({"age": "old"}, {}, {"age": "young"}).iloc[1:]
    found = audit_dataset(None, table=part).of("unreadable_numbers")
    assert (found.count, names(found)) == (1, ["film-2.png"])
