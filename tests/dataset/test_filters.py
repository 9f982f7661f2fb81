from pathlib import Path

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


def test_files_that_are_there_are_told_from_those_that_are_not() -> None:
    table = with_choices(read_metadata(TABLE), files={"a.png", "d.png", "another.png"})
    assert kept(table, Filters(has_file=True)) == "ad"
    assert kept(table, Filters(has_file=False)) == "bc"


def test_a_row_is_in_the_cohort_or_has_the_step_and_the_reason_that_left_it_out() -> None:
    raw = read_metadata(TABLE)
    table = with_choices(raw, exclusions=select_cohort(raw, None).exclusions)
    assert kept(table, Filters(cohort=[IN_COHORT])) == "abc"
    assert kept(table, Filters(cohort=["x_ray"])) == "d"
    assert list(table["reason"].dropna()) == ["not an X-ray"]


def test_of_a_file_listed_twice_the_first_row_is_the_one_in_the_cohort(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    raw = read_metadata(b"patientid,finding,view,modality,filename\n" + b"1,SARS,PA,X-ray,a.png\n" * 2)
    table = with_choices(raw, exclusions=select_cohort(raw, tmp_path).exclusions)
    assert list(table["cohort"]) == [IN_COHORT, "file"]
    assert table["reason"][1] == "the file is listed in an earlier row"


def test_of_rows_that_name_one_file_of_one_patient_the_usable_one_is_in_cohort_and_part() -> None:
    raw = read_metadata(
        b"patientid,finding,view,modality,filename\n"
        b"1,SARS,Axial,CT,a.png\n1,SARS,PA,X-ray,a.png\n2,SARS,L,X-ray,a.png\n3,SARS,PA,CT,\n3,SARS,PA,X-ray,\n"
    )
    split = pd.DataFrame({"filename": ["a.png"], "patientid": ["1"], "part": ["train"]})
    table = with_choices(raw, exclusions=select_cohort(raw, None).exclusions, split=split)
    assert list(table["cohort"]) == ["x_ray", IN_COHORT, "frontal", "x_ray", IN_COHORT]
    assert list(table["part"]) == [NO_PART, "train", NO_PART, NO_PART, NO_PART]


def test_rows_stand_in_their_part_of_the_split_or_in_none() -> None:
    split = pd.DataFrame({"filename": ["a.png", "c.png"], "patientid": ["1", "2"], "part": ["train", "test"]})
    table = with_choices(read_metadata(TABLE), split=split)
    assert kept(table, Filters(parts=["train"])) == "a"
    assert kept(table, Filters(parts=[NO_PART])) == "bd"


def test_a_split_of_another_kind_is_refused_with_what_to_choose() -> None:
    with pytest.raises(DatasetError, match=r"split\.csv"):
        with_choices(read_metadata(TABLE), split=pd.DataFrame({"name": ["a.png"]}))


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


def test_filters_of_an_empty_table_keep_nothing(table: pd.DataFrame) -> None:
    nothing = table.iloc[:0]
    assert kept(nothing, Filters(findings=["Viral"], text="cough", age_from=3)) == ""


def test_the_real_table_is_filtered_to_the_counts_of_an_independent_recount(real_dataset: Path) -> None:
    csv = pd.read_csv(real_dataset / "metadata.csv")
    raw = read_metadata(real_dataset / "metadata.csv")
    files = {path.name for path in (real_dataset / "images").glob("*")}
    images = real_dataset / "images" if files else None
    table = with_choices(raw, files=files, exclusions=select_cohort(raw, images).exclusions)
    assert len(filtered(table, Filters())) == len(csv) == 950
    assert len(filtered(table, Filters(modalities=["X-ray"]))) == int((csv["modality"] == "X-ray").sum()) == 866
    assert len(filtered(table, Filters(modalities=["CT"]))) == int((csv["modality"] == "CT").sum()) == 84
    viral = csv["finding"].str.startswith("Pneumonia/Viral", na=False)
    assert len(filtered(table, Filters(findings=["Viral"]))) == int(viral.sum())
    covid = filtered(table, Filters(findings=["Pneumonia/Viral/COVID-19"]))
    assert len(covid) == int((csv["finding"] == "Pneumonia/Viral/COVID-19").sum()) == 584
    assert len(filtered(table, Filters(age_from=40, age_to=60))) == int(csv["age"].between(40, 60).sum())
    notes = csv["clinical_notes"].fillna("") + "\n" + csv["other_notes"].fillna("")
    assert len(filtered(table, Filters(text="cough"))) == int(notes.str.contains("cough", case=False).sum())
    assert len(filtered(table, Filters(countries=["IT"]))) >= int(csv["location"].str.endswith("Italy", na=False).sum())
    if not files:
        pytest.skip("the images are not here")
    frontal = csv["view"].isin(["PA", "AP", "AP Supine"]) & (csv["modality"] == "X-ray")
    labelled = csv["finding"].notna() & ~csv["finding"].isin(["todo", "Unknown"])
    there = csv["filename"].isin(files)
    recounted = csv[frontal & labelled & there]
    chosen = Filters(
        views=["PA", "AP", "AP Supine"], modalities=["X-ray"], labels=["covid", "non_covid"], has_file=True
    )
    assert len(filtered(table, chosen)) == len(recounted) == 686
    assert filtered(table, chosen)["patientid"].nunique() == recounted["patientid"].astype(str).nunique() == 415
