"""The collection counted a second time: with the csv module and a list of files alone, against what the package counts.

Nothing expected here is worked out by the package. The figures of the issue stand literally.
"""

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

from covid_core.dataset import summaries
from covid_core.dataset.cohort import CohortRules, select_cohort
from covid_core.dataset.filters import IN_COHORT, NOT_GIVEN, Filters, filtered, with_choices
from covid_core.dataset.metadata import read_metadata

Row = dict[str, str]
FRONTAL = {"PA", "AP", "AP Supine"}


@pytest.fixture(scope="module")
def rows(real_dataset: Path) -> list[Row]:
    """The rows as the csv module gives them, stripped."""
    with (real_dataset / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return [{name: (cell or "").strip() for name, cell in row.items() if name} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def files(real_dataset: Path) -> set[str]:
    if not (real_dataset / "images").is_dir():
        pytest.skip("the images are not here")
    return set(os.listdir(real_dataset / "images"))  # noqa: PTH208  as plain as can be


@pytest.fixture(scope="module")
def explored(real_dataset: Path, files: set[str]) -> pd.DataFrame:
    """The table as the page prepares it."""
    table = read_metadata(real_dataset / "metadata.csv")
    exclusions = select_cohort(table, real_dataset / "images").exclusions
    return with_choices(table, files=files, exclusions=exclusions)


def components(row: Row) -> list[str]:
    return [part.strip() for part in re.split("[/,]", row["finding"]) if part.strip()]


def label(row: Row) -> str:
    if row["finding"] in {"", "todo", "Unknown"}:
        return NOT_GIVEN
    return "covid" if "COVID-19" in components(row) else "non_covid"


def given(cell: str) -> bool:
    return cell.lower() not in {"", "na", "n/a", "nan", "null"}


def host(row: Row) -> str:
    return (urlsplit(row["url"]).hostname or NOT_GIVEN) if row["url"] else NOT_GIVEN


def patients(rows: list[Row]) -> int:
    return len({row["patientid"] for row in rows})


def test_the_filters_keep_the_figures_of_the_issue(explored: pd.DataFrame) -> None:
    def kept(**chosen: object) -> int:
        return len(filtered(explored, Filters(**chosen)))

    assert kept() == 950
    assert kept(modalities=["X-ray"]) == 866
    assert kept(modalities=["CT"]) == 84
    assert kept(findings=["Pneumonia/Viral/COVID-19"]) == 584
    used = filtered(
        explored,
        Filters(views=sorted(FRONTAL), modalities=["X-ray"], labels=["covid", "non_covid"], has_file=True),
    )
    found = summaries.counts(used)
    assert (found.images, found.patients, found.unlabelled) == (686, 415, 0)
    assert found.by_label == {"covid": 471, "non_covid": 215}


def test_what_the_page_counts_is_counted_again(rows: list[Row], explored: pd.DataFrame) -> None:
    found = summaries.counts(explored)
    labels = Counter(map(label, rows))
    assert found.images == len(rows)
    assert found.patients == patients(rows)
    assert found.sources == len({host(row) for row in rows} - {NOT_GIVEN})
    assert found.by_label == {"covid": labels["covid"], "non_covid": labels["non_covid"]}
    assert found.unlabelled == labels[NOT_GIVEN] == 84


def test_each_finding_of_the_hierarchy_is_counted_again(rows: list[Row], explored: pd.DataFrame) -> None:
    expected: Counter[str] = Counter()
    for row in rows:
        parts = [NOT_GIVEN] if label(row) == NOT_GIVEN else components(row)
        expected.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    tree = summaries.finding_hierarchy(explored)
    assert dict(zip(tree["id"], tree["images"], strict=True)) == expected
    parents = dict(zip(tree["id"], tree["parent"], strict=True))
    assert parents["Pneumonia/Viral/COVID-19"] == "Pneumonia/Viral"


def test_each_view_and_class_is_counted_again(rows: list[Row], explored: pd.DataFrame) -> None:
    crossed = summaries.view_by_label(explored)
    expected = Counter((row["view"] or NOT_GIVEN, label(row)) for row in rows)
    found = {(view, name): int(crossed.loc[view, name]) for view in crossed.index for name in crossed.columns}
    assert {key: count for key, count in found.items() if count} == expected


def test_patients_are_counted_again_by_their_images_age_and_sex(rows: list[Row], explored: pd.DataFrame) -> None:
    sizes = Counter(Counter(row["patientid"] for row in rows).values())
    with_more = sum(count for size, count in sizes.items() if size > 10)
    found = summaries.images_per_patient(explored)
    assert found.iloc[:10].to_dict() == {str(size): sizes[size] for size in range(1, 11)}
    assert found.iloc[10:].tolist() == [with_more] == [1]
    sexes, ages = defaultdict[str, str](str), defaultdict[str, str](str)
    for row in rows:
        sexes[row["patientid"]] = sexes[row["patientid"]] or row["sex"]
        ages[row["patientid"]] = ages[row["patientid"]] or row["age"]
    pyramid = summaries.age_sex_pyramid(explored)
    assert pyramid.sum().to_dict() == Counter(sex if sex in {"F", "M"} else NOT_GIVEN for sex in sexes.values())
    assert pyramid.loc["40-49"].sum() == sum(given(age) and 40 <= float(age) < 50 for age in ages.values())


def test_what_each_column_lacks_is_counted_again(rows: list[Row], explored: pd.DataFrame) -> None:
    blanks = summaries.missingness(explored, explored).blanks["all"].to_dict()
    expected = {name: sum(not given(row[name]) for row in rows) for name in rows[0]}
    expected["finding"] = sum(label(row) == NOT_GIVEN for row in rows)
    assert blanks == expected
    days = [float(row["offset"]) for row in rows if given(row["offset"])]
    found = summaries.days_since_onset(explored).sum(axis=1)
    assert (found["7-13"], found[NOT_GIVEN]) == (sum(7 <= day < 14 for day in days), len(rows) - len(days))


def test_how_the_patients_fared_is_counted_again(rows: list[Row], explored: pd.DataFrame) -> None:
    found = summaries.outcomes(explored)
    for column, title in summaries.OUTCOMES.items():
        answers = Counter(row[column].lower() for row in rows)
        assert found.loc[title, "yes"] == answers["y"] + answers["yes"]
        assert found.loc[title, "no"] == answers["n"] + answers["no"]
        assert found.loc[title, NOT_GIVEN] == answers[""]


def test_the_images_of_a_country_that_stands_last_in_the_place_are_all_found(
    rows: list[Row], explored: pd.DataFrame
) -> None:
    countries = summaries.images_by_country(explored).set_index("name")["images"]
    for name in ("Italy", "Vietnam", "Spain", "Iran"):
        expected = sum(row["location"].split(",")[-1].strip() == name for row in rows)
        assert expected > 0
        assert countries[name] >= expected
    assert countries.sum() == 950
    assert countries[NOT_GIVEN] >= sum(not given(row["location"]) for row in rows)


@pytest.mark.parametrize(
    ("filters", "meets"),
    [
        (Filters(findings=["Viral"]), lambda row: "Viral" in components(row)),
        (Filters(findings=["No Finding"]), lambda row: row["finding"] == "No Finding"),
        (Filters(findings=[NOT_GIVEN]), lambda row: label(row) == NOT_GIVEN),
        (Filters(views=["PA", "L"]), lambda row: row["view"] in {"PA", "L"}),
        (Filters(sexes=["F", NOT_GIVEN]), lambda row: row["sex"] in {"F", ""}),
        (Filters(labels=["non_covid"]), lambda row: label(row) == "non_covid"),
        (Filters(rt_pcr=["Y"]), lambda row: row["RT_PCR_positive"] == "Y"),
        (Filters(licences=[NOT_GIVEN]), lambda row: row["license"] == ""),
        (Filters(age_from=40, age_to=60), lambda row: given(row["age"]) and 40 <= float(row["age"]) <= 60),
        (Filters(sources=["www.eurorad.org"]), lambda row: host(row) == "www.eurorad.org"),
        (
            Filters(text="Fever cough"),
            lambda row: all(
                word in f"{row['clinical_notes']}\n{row['other_notes']}".lower() for word in ("fever", "cough")
            ),
        ),
    ],
)
def test_each_filter_keeps_the_files_of_a_second_reading(
    rows: list[Row], explored: pd.DataFrame, filters: Filters, meets: Callable[[Row], bool]
) -> None:
    expected = [row["filename"] for row in rows if meets(row)]
    assert len(expected) > 0
    assert filtered(explored, filters)["filename"].tolist() == expected


def test_each_step_of_the_flow_is_counted_again(
    rows: list[Row], files: set[str], explored: pd.DataFrame, real_dataset: Path
) -> None:
    infected = {row["patientid"] for row in rows if label(row) == "covid"}
    steps: list[tuple[str, Callable[[Row], bool]]] = [
        ("all", lambda _: True),
        ("x_ray", lambda row: row["modality"] == "X-ray"),
        ("frontal", lambda row: row["view"] in FRONTAL),
        ("labelled", lambda row: label(row) != NOT_GIVEN),
        ("file", lambda row: row["filename"] in files),
        ("unambiguous", lambda row: row["finding"] != "No Finding" or row["patientid"] not in infected),
    ]
    left, expected = rows, []
    for name, stays in steps:
        before, left = left, [row for row in left if stays(row)]
        gone = len(before) - len(left), patients(before) - patients(left)
        expected.append((name, len(left), patients(left), *gone))
    cohort = select_cohort(read_metadata(real_dataset / "metadata.csv"), real_dataset / "images", CohortRules())
    found = [
        (step.name, step.images, step.patients, step.excluded_images, step.excluded_patients) for step in cohort.flow
    ]
    assert found == expected
    assert next(images for name, images, *_ in expected if name == "file") == 686
    used = filtered(explored, Filters(cohort=[IN_COHORT]))
    assert used["filename"].tolist() == [row["filename"] for row in left]
