import pandas as pd
import pytest

from covid_core.dataset.cohort import select_cohort
from covid_core.dataset.filters import (
    IN_COHORT,
    NO_PART,
    NOT_GIVEN,
    NOTES,
    Filters,
    choices,
    filtered,
    with_choices,
    with_notes,
)
from covid_core.dataset.metadata import read_metadata
from covid_core.errors import DatasetError

TABLE = b"""\
patientid,sex,age,finding,RT_PCR_positive,view,modality,location,filename,url,license,clinical_notes,other_notes
1,M,40,Pneumonia/Viral/COVID-19,Y,PA,X-ray,"Milan, Italy",a.png,https://one.example/1,CC BY,Fever and COUGH,Seen by Dr. X
1,M,41,"COVID-19, ARDS",Y,AP,X-ray,"Milan, Italy",b.png,https://one.example/2,,Cough,
2,,65.5,Pneumonia/Viral/SARS,,PA,X-ray,somewhere,c.png,https://two.example/1,CC BY,,100% oxygen
3,F,,todo,Unclear,PA,CT,,d.png,,CC0,,
"""


@pytest.fixture
def table() -> pd.DataFrame:
    return with_choices(read_metadata(TABLE))


def kept(table: pd.DataFrame, filters: Filters) -> str:
    """The letters of the files that are left."""
    return "".join(name[0] for name in filtered(table, filters)["filename"])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), "abcd"),
        (Filters(findings=["Viral"]), "ac"),
        (Filters(findings=["Pneumonia/Viral"]), "ac"),
        (Filters(findings=["Pneumonia/Vir"]), ""),
        (Filters(findings=["COVID-19"]), "ab"),
        (Filters(findings=["ARDS", "SARS"]), "bc"),
        (Filters(views=["PA"]), "acd"),
        (Filters(modalities=["CT"]), "d"),
        (Filters(sexes=["F", NOT_GIVEN]), "cd"),
        (Filters(labels=["covid"]), "ab"),
        (Filters(sources=["two.example"]), "c"),
        (Filters(sources=[NOT_GIVEN]), "d"),
        (Filters(countries=["IT"]), "ab"),
        (Filters(countries=[NOT_GIVEN]), "cd"),
        (Filters(rt_pcr=["Unclear"]), "d"),
        (Filters(licences=["CC BY", NOT_GIVEN]), "abc"),
        (Filters(age_from=41), "bc"),
        (Filters(age_to=41), "ab"),
        (Filters(age_from=41, age_to=41), "b"),
        (Filters(text="cough"), "ab"),
        (Filters(text="  COUGH fever "), "a"),
        (Filters(text="dr. x"), "a"),
        (Filters(text="100%"), "c"),
        (Filters(text="B.PNG"), "b"),
        (Filters(text="milan cough"), "ab"),
        (Filters(text="3"), "d"),
        (Filters(text="cough " + "x" * 10_000), ""),
        (Filters(text=" " * 200 + "zebra"), "abcd"),
        (Filters(text=".*"), ""),
        (Filters(findings=["Viral"], sources=["one.example"]), "a"),
    ],
)
def test_each_filter_keeps_the_rows_that_meet_it(table: pd.DataFrame, filters: Filters, expected: str) -> None:
    assert kept(table, filters) == expected


def test_the_rows_come_without_their_notes_and_get_them_back(table: pd.DataFrame) -> None:
    rows = filtered(table, Filters(views=["PA"]))
    assert not set(NOTES) & set(rows)
    noted = with_notes(rows, table)
    assert list(noted["clinical_notes"].fillna("")) == ["Fever and COUGH", "", ""]
    assert list(noted["other_notes"].fillna("")) == ["Seen by Dr. X", "100% oxygen", ""]


def test_rows_are_chosen_by_file_and_part() -> None:
    split = pd.DataFrame({"filename": ["a.png", "c.png"], "patientid": ["1", "2"], "part": ["train", "test"]})
    table = with_choices(read_metadata(TABLE), files={"a.png", "d.png", "another.png"}, split=split)
    assert kept(table, Filters(has_file=True)) == "ad"
    assert kept(table, Filters(has_file=False)) == "bc"
    assert kept(table, Filters(parts=["train"])) == "a"
    assert kept(table, Filters(parts=[NO_PART])) == "bd"
    with pytest.raises(DatasetError, match=r"split\.csv"):
        with_choices(read_metadata(TABLE), split=pd.DataFrame({"name": ["a.png"]}))


def test_a_row_is_in_the_cohort_or_has_the_step_and_the_reason_that_left_it_out() -> None:
    raw = read_metadata(TABLE)
    table = with_choices(raw, exclusions=select_cohort(raw, None).exclusions)
    assert kept(table, Filters(cohort=[IN_COHORT])) == "abc"
    assert kept(table, Filters(cohort=["x_ray"])) == "d"
    assert list(table["reason"].dropna()) == ["not an X-ray"]


def test_of_rows_that_name_one_file_of_one_patient_the_usable_one_is_in_cohort_and_part() -> None:
    raw = read_metadata(
        b"patientid,finding,view,modality,filename\n"
        b"1,SARS,Axial,CT,a.png\n1,SARS,PA,X-ray,a.png\n2,SARS,L,X-ray,a.png\n3,SARS,PA,CT,\n3,SARS,PA,X-ray,\n"
    )
    split = pd.DataFrame({"filename": ["a.png"], "patientid": ["1"], "part": ["train"]})
    table = with_choices(raw, exclusions=select_cohort(raw, None).exclusions, split=split)
    assert list(table["cohort"]) == ["x_ray", IN_COHORT, "frontal", "x_ray", IN_COHORT]
    assert list(table["part"]) == [NO_PART, "train", NO_PART, NO_PART, NO_PART]


def test_columns_of_the_file_with_the_names_of_ours_are_not_mistaken_for_them() -> None:
    raw = read_metadata(TABLE).assign(part="train", cohort="file", has_file="x", country="XX")
    table = with_choices(raw)
    assert kept(table, Filters(parts=["test"], cohort=["x"], has_file=True)) == "abcd"
    assert choices(table, "country") == ["IT", NOT_GIVEN]


def test_the_index_of_the_table_does_not_matter() -> None:
    some = with_choices(
        read_metadata(TABLE).iloc[[3, 0]],
        files=["a.png"],
        exclusions=pd.DataFrame(
            {"filename": ["d.png"], "patientid": ["3"], "step": ["x_ray"], "reason": ["not an X-ray"]}, index=[3]
        ),
    )
    assert kept(some, Filters(cohort=[IN_COHORT])) == kept(some, Filters(has_file=True)) == "a"
    assert kept(some, Filters(countries=["IT"], text="fever")) == "a"
    assert kept(some.iloc[:0], Filters(findings=["Viral"], text="cough", age_from=3)) == ""
