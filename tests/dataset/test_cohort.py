"""Which images are used: hand-made tables with known answers, and the counts published with the real one."""

from pathlib import Path

import pandas as pd
import pytest

from covid_core.dataset.cohort import CohortRules, exclude, flow_to_json, missing_files, select_cohort
from covid_core.dataset.metadata import read_metadata

COVID = "Pneumonia/Viral/COVID-19"


def table_of(*rows: tuple[str, str, str, str, str]) -> pd.DataFrame:
    lines = ["patientid,finding,view,modality,filename", *(",".join(f'"{cell}"' for cell in row) for row in rows)]
    return read_metadata("\n".join(lines).encode())


def names(table: pd.DataFrame) -> list[str]:
    return table["filename"].tolist()


def test_the_real_cohort_has_the_published_counts_and_its_flow_accounts_for_every_row(real_dataset: Path) -> None:
    table = read_metadata(real_dataset / "metadata.csv")
    cohort = select_cohort(table, real_dataset / "images", CohortRules(ambiguous="non_covid"))
    patients = cohort.table.groupby("label")["patientid"].nunique()
    assert cohort.table["label"].value_counts().to_dict() == {"covid": 471, "non_covid": 215}
    assert (patients["covid"], patients["non_covid"]) == (290, 135)
    cohort = select_cohort(table, real_dataset / "images")
    assert len(cohort.table) + len(cohort.exclusions) == 950
    # Of the 18 labelled frontal No Finding images, 11 are of patients with a COVID-19 image, 3 of patients with COVID-19 on CT.
    assert cohort.flow[-1].excluded_images == 14
    missing = missing_files(table, real_dataset / "images")
    assert missing["folder"].value_counts().to_dict() == {"volumes": 21, "images": 15}


def test_each_step_counts_images_and_patients_that_have_none_left() -> None:
    table = table_of(
        ("1", COVID, "PA", "X-ray", "a.png"),
        ("1", COVID, "Axial", "CT", "b.png"),
        ("2", COVID, "Axial", "", "c.png"),
        ("3", "SARS", "L", "X-ray", "d.png"),
        ("4", "todo", "AP", "X-ray", "e.png"),
        ("5", "Streptococcus, ARDS", "AP", "X-ray", "f.png"),
        ("6", COVID, "", "X-ray", "g.png"),
    )
    cohort = select_cohort(table, None)
    counted = [
        (step.name, step.images, step.patients, step.excluded_images, step.excluded_patients) for step in cohort.flow
    ]
    assert counted == [
        ("all", 7, 6, 0, 0),
        ("x_ray", 5, 5, 2, 1),
        ("frontal", 3, 3, 2, 2),
        ("labelled", 2, 2, 1, 1),
        ("unambiguous", 2, 2, 0, 0),
    ]
    assert names(cohort.table) == ["a.png", "f.png"]
    assert dict(zip(cohort.exclusions["filename"], cohort.exclusions["step"], strict=True)) == {
        "b.png": "x_ray",
        "c.png": "x_ray",
        "d.png": "frontal",
        "e.png": "labelled",
        "g.png": "frontal",
    }


def test_supine_images_are_added_only_where_a_class_is_lacking() -> None:
    few = [("1", COVID, "PA", "X-ray", "a.png"), ("2", "SARS", "AP Supine", "X-ray", "b.png")]
    assert names(select_cohort(table_of(*few), None).table) == ["a.png", "b.png"]
    assert names(select_cohort(table_of(*few), None, CohortRules(include_supine=False)).table) == ["a.png"]
    many = [
        (f"{finding}-{number}", finding, "AP", "X-ray", f"{finding}-{number}.png")
        for finding in ("COVID-19", "SARS")
        for number in range(300)
    ]
    supine = ("s", "SARS", "AP Supine", "X-ray", "s.png")
    assert len(select_cohort(table_of(*many, supine), None).table) == 600
    assert len(select_cohort(table_of(*many[:-1], supine), None).table) == 600


@pytest.mark.parametrize(
    ("ambiguous", "labels"),
    [
        ("drop", {"a.png": "covid", "c.png": "non_covid"}),
        ("non_covid", {"a.png": "covid", "b.png": "non_covid", "c.png": "non_covid", "e.png": "non_covid"}),
        ("covid", {"a.png": "covid", "b.png": "covid", "c.png": "non_covid", "e.png": "covid"}),
    ],
)
def test_a_clear_image_of_a_covid_patient_follows_the_rule(ambiguous: str, labels: dict[str, str]) -> None:
    table = table_of(
        ("1", COVID, "PA", "X-ray", "a.png"),
        ("1", "No Finding", "PA", "X-ray", "b.png"),
        ("2", "No Finding", "PA", "X-ray", "c.png"),
        ("3", COVID, "Axial", "CT", "d.png"),
        ("3", "No Finding", "PA", "X-ray", "e.png"),
    )
    cohort = select_cohort(table, None, CohortRules(ambiguous=ambiguous))  # type: ignore[arg-type]
    assert dict(zip(cohort.table["filename"], cohort.table["label"], strict=True)) == labels
    assert cohort.flow[-1].excluded_images == 4 - len(labels)


def test_files_that_are_absent_unsafe_or_listed_twice_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    table = table_of(
        ("1", COVID, "PA", "X-ray", "a.png"),
        ("2", COVID, "PA", "X-ray", "b.png"),
        ("3", COVID, "PA", "X-ray", "../a.png"),
        ("4", COVID, "PA", "X-ray", "a.png"),
        ("5", COVID, "PA", "X-ray", ""),
    )
    cohort = select_cohort(table, tmp_path)
    assert names(cohort.table) == ["a.png"]
    reasons = dict(zip(cohort.exclusions["patientid"], cohort.exclusions["reason"], strict=True))
    assert reasons == {
        "2": "the file is missing",
        "3": "the file name is not a plain name inside the folder",
        "4": "the file is listed in an earlier row",
        "5": "the table gives no file name",
    }


def test_a_further_step_continues_the_flow() -> None:
    cohort = select_cohort(table_of(("1", COVID, "PA", "X-ray", "a.png"), ("2", COVID, "PA", "X-ray", "b.png")), None)
    after = exclude(cohort, "odd", "an odd one", cohort.table["patientid"] == "1")
    assert names(after.table) == ["b.png"]
    assert after.table.index.tolist() == [1]
    assert list(flow_to_json(after.flow)[-1].values()) == ["odd", "an odd one", 1, 1, 1, 1]
    with pytest.raises(ValueError, match="maybe"):
        CohortRules(ambiguous="maybe")  # type: ignore[arg-type]
