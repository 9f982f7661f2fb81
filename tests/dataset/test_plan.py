"""What `prepare` would do, decided without writing: the same as what it does."""

import argparse
import csv
import io
import shlex
from pathlib import Path

import numpy as np
import pytest

from covid_core.cli.main import build_parser
from covid_core.dataset.cohort import CohortRules, select_cohort
from covid_core.dataset.duplicates import Fingerprint
from covid_core.dataset.metadata import read_metadata
from covid_core.dataset.prepare import (
    WIDEST_RULES,
    Fingerprints,
    PlanRules,
    part_counts,
    parts_table,
    plan_split,
    prepare_command,
    prepare_dataset,
    read_images,
    split_csv,
)
from covid_core.errors import DatasetError

RULES = [
    PlanRules(),
    PlanRules(CohortRules(ambiguous="covid"), (0.5, 0.25, 0.25), 7),
    PlanRules(CohortRules(ambiguous="non_covid", include_supine=False), (0.6, 0.2, 0.2), 1),
    PlanRules(CohortRules(include_supine=False)),
]


def widest_images(dataset: Path) -> Fingerprints:
    """What a page reads: the images that any of the rules may use."""
    table = read_metadata(dataset / "metadata.csv")
    names = select_cohort(table, dataset / "images", WIDEST_RULES).table["filename"].tolist()
    return read_images(dataset / "images", names)


@pytest.fixture(scope="module")
def images(phantom_dataset: Path) -> Fingerprints:
    return widest_images(phantom_dataset)


def planned(dataset: Path, images: Fingerprints, rules: PlanRules) -> bytes:
    cohort = select_cohort(read_metadata(dataset / "metadata.csv"), dataset / "images", rules.cohort)
    return split_csv(plan_split(cohort, images, rules.fractions, rules.seed).split)


def written(dataset: Path, out: Path, rules: PlanRules) -> bytes:
    prepare_dataset(dataset, out, rules=rules.cohort, fractions=rules.fractions, seed=rules.seed)
    return (out / "split.csv").read_bytes()


@pytest.mark.parametrize("rules", RULES)
def test_the_plan_is_byte_for_byte_what_prepare_writes(
    phantom_dataset: Path, images: Fingerprints, tmp_path: Path, rules: PlanRules
) -> None:
    assert planned(phantom_dataset, images, rules) == written(phantom_dataset, tmp_path, rules)


@pytest.mark.slow
def test_the_real_plan_is_byte_for_byte_what_prepare_writes(real_dataset: Path, tmp_path: Path) -> None:
    images = widest_images(real_dataset)
    for number in (0, 2):
        assert planned(real_dataset, images, RULES[number]) == written(real_dataset, tmp_path, RULES[number])
    cohort = select_cohort(read_metadata(real_dataset / "metadata.csv"), real_dataset / "images")
    plan = plan_split(cohort, images)
    assert [step.images for step in plan.flow] == [950, 866, 781, 697, 686, 672, 672]
    assert [step.patients for step in plan.flow][-3:] == [415, 412, 412]
    assert plan.flow[-1].name == "readable"


def test_images_that_other_rules_use_change_nothing(phantom_dataset: Path, images: Fingerprints) -> None:
    cohort = select_cohort(read_metadata(phantom_dataset / "metadata.csv"), phantom_dataset / "images")
    names = cohort.table["filename"].tolist()
    assert len(names) < len(images.fingerprints)
    own = plan_split(cohort, read_images(phantom_dataset / "images", names))
    assert split_csv(own.split) == split_csv(plan_split(cohort, images).split)


def test_copies_of_an_image_that_is_left_out_still_stay_together() -> None:
    """Three files of one content and of pictures that tell nothing; the rules leave out the first, which is paired with each."""
    rows = ["s,SARS,AP Supine,X-ray,first", "a,SARS,PA,X-ray,second", "b,SARS,PA,X-ray,third"]
    rows += [f"{name}{number},{name},PA,X-ray,{name}{number}" for name in ("COVID-19", "SARS") for number in range(9)]
    table = read_metadata("\n".join(["patientid,finding,view,modality,filename", *rows]).encode())
    blank = np.zeros((64, 64), np.float32)
    contents = {name: "same" if number < 3 else name for number, name in enumerate(table["filename"])}
    images = Fingerprints({name: Fingerprint(content, blank) for name, content in contents.items()}, frozenset())
    plan = plan_split(select_cohort(table, None, CohortRules(include_supine=False)), images)
    assert plan.duplicate_pairs == (("second", "third"),)
    part = plan.split.set_index("filename")["part"]
    assert part["second"] == part["third"]


def test_what_cannot_be_split_is_a_sentence(phantom_dataset: Path, images: Fingerprints) -> None:
    table = read_metadata(phantom_dataset / "metadata.csv")
    cohort = select_cohort(table, phantom_dataset / "images")
    late = cohort.table["filename"].iloc[0]
    former = Fingerprints({name: one for name, one in images.fingerprints.items() if name != late}, images.alike)
    with pytest.raises(DatasetError, match=rf"1 images came after.*{late}"):
        plan_split(cohort, former)
    with pytest.raises(DatasetError, match="No image can be used"):
        plan_split(select_cohort(table[table["modality"] == "CT"], phantom_dataset / "images"), images)
    with pytest.raises(DatasetError, match="no image of class non_covid"):
        plan_split(select_cohort(table[table["label"] != "non_covid"], phantom_dataset / "images"), images)


def test_parts_are_counted_as_the_csv_tells_them(phantom_dataset: Path, images: Fingerprints) -> None:
    rules = PlanRules(CohortRules(ambiguous="non_covid"))
    rows = list(csv.DictReader(io.StringIO(planned(phantom_dataset, images, rules).decode())))
    cohort = select_cohort(read_metadata(phantom_dataset / "metadata.csv"), phantom_dataset / "images", rules.cohort)
    split = plan_split(cohort, images).split
    for part, counts in zip(("train", "val", "test"), part_counts(split), strict=True):
        there = [row for row in rows if row["part"] == part]
        assert (counts["images"], counts["patients"]) == (len(there), len({row["patientid"] for row in there}))
        for label, of_class in counts["by_class"].items():
            chosen = [row["patientid"] for row in there if row["label"] == label]
            assert of_class == {"images": len(chosen), "patients": len(set(chosen))}
    together = parts_table(split).iloc[-1]
    assert (together["Images"], together["Patients"]) == (str(len(rows)), str(len({row["patientid"] for row in rows})))


def options_of(command: str) -> argparse.Namespace:
    """What the command line itself makes of a command."""
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "covid_core"]
    return build_parser().parse_args(words[3:])


@pytest.mark.parametrize("rules", [*RULES, PlanRules(fractions=(0.07, 0.29, 0.64), seed=2**32 - 1)])
@pytest.mark.parametrize("folder", ["data/x", "a folder/of $HOME's; rm -rf"])
def test_the_command_line_asks_for_the_same_rules(rules: PlanRules, folder: str) -> None:
    options = options_of(prepare_command(folder, rules))
    assert (options.dataset, options.out) == (Path(folder), Path("dataset"))
    assert CohortRules(options.ambiguous, not options.no_supine) == rules.cohort
    assert (tuple(options.fractions), options.seed) == (rules.fractions, rules.seed)
    assert prepare_command("data", PlanRules()) == "python -m covid_core prepare --dataset data --out dataset"
