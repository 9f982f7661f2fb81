"""What `prepare` would do with a collection, decided without writing anything: the films that are used, and their parts.

Puts the steps of cohort, duplicates and split in order, for the command and for the page alike. The films are read and compared
once (`read_films`); whatever is decided of them afterwards needs no picture. Knows neither pages nor folders to write.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.data.cohort import Cohort, CohortRules, FlowStep, exclude
from covid_core.data.duplicates import (
    Fingerprint,
    FingerprintFiles,
    Progress,
    components,
    duplicate_pairs,
    fingerprint_files,
)
from covid_core.data.metadata import safe_image_path
from covid_core.data.split import FRACTIONS, PARTS, Overlap, count_parts, group_ids, overlap, split_parts
from covid_core.errors import DatasetError
from covid_core.labels import CLASS_TITLES, CLASSES

RECORD_COLUMNS = ("filename", "patientid", "label", "part", "sha256")
"""The columns of `split.csv` that others rely on; the further ones are `FURTHER_COLUMNS`."""
FURTHER_COLUMNS = ("group", "duplicate", "source", "view", "sex", "age", "finding")

PART_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}
"""The parts as people read them."""
WIDEST_RULES = CohortRules(ambiguous="non_covid", include_supine=True)
"""No other rules use a film that these do not: once theirs are read, any choice is decided without a picture."""
DEFAULT_OUT = "dataset"
"""Where `prepare` writes unless told otherwise."""


@dataclass(frozen=True)
class PlanRules:
    """What a user may decide of a preparation.

    Attributes:
        cohort: which films are used.
        fractions: shares of train, val and test, each above 0, summing to 1.
        seed: of the split, 0 or above.
    """

    cohort: CohortRules = field(default_factory=CohortRules)
    fractions: tuple[float, float, float] = FRACTIONS
    seed: int = 0


@dataclass(frozen=True)
class ReadFilms:
    """Films that were read and compared with each other.

    Attributes:
        fingerprints: of each film, by its file name.
        alike: pairs of file names with (almost) the same picture. Films of the same content are not among them unless their
            pictures say so: these are paired within the films that are used.
    """

    fingerprints: Mapping[str, Fingerprint]
    alike: frozenset[tuple[str, str]]

    def __repr__(self) -> str:
        return f"ReadFilms({len(self.fingerprints)} films, {len(self.alike)} pairs alike)"


@dataclass(frozen=True)
class SplitPlan:
    """What a preparation gives.

    Attributes:
        split: the rows of `split.csv`: `RECORD_COLUMNS` and `FURTHER_COLUMNS`.
        flow: the steps from the table to the cohort.
        exclusions: one row per image left out, with its reason.
        parts: images and patients per part and class, as `count_parts` gives them.
        overlap: patients and duplicates in more than one part.
        duplicate_pairs: pairs of file names with the same or almost the same picture.
    """

    split: pd.DataFrame
    flow: tuple[FlowStep, ...]
    exclusions: pd.DataFrame
    parts: pd.DataFrame
    overlap: Overlap
    duplicate_pairs: tuple[tuple[str, str], ...]


def read_films(
    images_dir: Path,
    filenames: Sequence[str],
    progress: Progress | None = None,
    fingerprints: FingerprintFiles = fingerprint_files,
    comparing: Progress | None = None,
) -> ReadFilms:
    """Read films and compare each with the others.

    Args:
        images_dir: the folder of the images.
        filenames: plain names in it, each once.
        progress: called after each film that was read.
        fingerprints: reads the files; that of an image cache is quicker the next time.
        comparing: called after each film that was compared with the others.
    """
    names = list(filenames)
    paths = [safe_image_path(images_dir, name) for name in names]
    found = fingerprints(paths, progress)
    pairs = duplicate_pairs([replace(item, sha256="") for item in found], progress=comparing)
    return ReadFilms(
        dict(zip(names, found, strict=True)),
        frozenset((names[first], names[second]) for first, second in pairs),
    )


def readable_cohort(cohort: Cohort, films: ReadFilms) -> Cohort:
    """Take the last step of the flow: leave out what cannot be decoded.

    Args:
        cohort: as `select_cohort` gives it with a folder of images.
        films: at least all films of the cohort.

    Raises:
        DatasetError: a film of the cohort was not read.
    """
    unread = [name for name in cohort.table["filename"] if name not in films.fingerprints]
    if unread:
        raise DatasetError(
            f"{len(unread)} films came after the others were read, the first is {unread[0]}. Read the films again."
        )
    reasons = [films.fingerprints[name].problem for name in cohort.table["filename"]]
    problems = pd.Series(reasons, index=cohort.table.index, dtype="str")
    return exclude(cohort, "readable", "the file cannot be read as an image", problems != "", problems)


def plan_split(cohort: Cohort, films: ReadFilms, fractions: Sequence[float] = FRACTIONS, seed: int = 0) -> SplitPlan:
    """Decide which films are used and in which part each stands.

    Args:
        cohort: as `select_cohort` gives it with a folder of images.
        films: at least all films of the cohort; more of them change nothing.
        fractions: shares of train, val and test.
        seed: of the split.

    Returns:
        The plan; the same input gives the same bytes of `split_csv`.

    Raises:
        DatasetError: no film is left, the shares are unusable, or a part would lack a class.
    """
    cohort = readable_cohort(cohort, films)
    if cohort.table.empty:
        raise DatasetError("No image can be used: no frontal X-ray with a label has a readable file.")
    films_used = cohort.table.reset_index(drop=True)
    names = films_used["filename"].tolist()
    fingerprints = [films.fingerprints[name] for name in names]
    pairs = _pairs(names, fingerprints, films)
    table = films_used.assign(
        sha256=[item.sha256 for item in fingerprints],
        group=group_ids(films_used["patientid"].tolist(), pairs),
        duplicate=_duplicate_ids(len(names), pairs),
    )
    split = table.assign(part=split_parts(table, fractions, seed))[[*RECORD_COLUMNS, *FURTHER_COLUMNS]]
    return SplitPlan(
        split=split,
        flow=cohort.flow,
        exclusions=cohort.exclusions,
        parts=count_parts(split),
        overlap=overlap(split, split["part"]),
        duplicate_pairs=tuple((names[first], names[second]) for first, second in pairs),
    )


def split_csv(split: pd.DataFrame) -> bytes:
    """The content of `split.csv`, UTF-8.

    Texts stand as they are, also those that a spreadsheet would run as a formula: the file is read by `read_split`, names files
    by their real names, and its hash tells one split from another.

    Args:
        split: the rows of a plan.
    """
    return split.to_csv(index=False, lineterminator="\n").encode("utf-8")


def prepare_command(dataset: str, rules: PlanRules) -> str:
    """The command line that prepares a dataset by these rules; quoted for a POSIX shell, defaults left out.

    Args:
        dataset: the folder with `metadata.csv` and `images/`.
        rules: what to do with it.
    """
    words = ["python", "-m", "covid_core", "prepare", "--dataset", dataset, "--out", DEFAULT_OUT]
    default = PlanRules()
    if rules.cohort.ambiguous != default.cohort.ambiguous:
        words += ["--ambiguous", rules.cohort.ambiguous]
    if not rules.cohort.include_supine:
        words += ["--no-supine"]
    if rules.fractions != default.fractions:
        words += ["--fractions", *(repr(share) for share in rules.fractions)]
    if rules.seed != default.seed:
        words += ["--seed", str(rules.seed)]
    return shlex.join(words)


def part_counts(split: pd.DataFrame) -> list[dict[str, Any]]:
    """Count each part: `title`, `images`, `patients`, and `by_class`, which has `images` and `patients` by class.

    A patient with images of both classes counts in both, and once among all patients.

    Args:
        split: the rows of a plan.
    """
    return [{"title": PART_TITLES[part], **_counted(split[split["part"] == part])} for part in PARTS]


def parts_table(split: pd.DataFrame) -> pd.DataFrame:
    """The same in a table, with a row for all parts together; text in every cell.

    Args:
        split: the rows of a plan.
    """
    rows = []
    for part in (*part_counts(split), {"title": "Together", **_counted(split)}):
        row = {"Part": part["title"], "Images": part["images"], "Patients": part["patients"]}
        for label, counts in part["by_class"].items():
            row |= {f"{CLASS_TITLES[label]}: {what}": number for what, number in counts.items()}
        rows.append(row)
    return pd.DataFrame(rows).astype("str")


def _counted(films: pd.DataFrame) -> dict[str, Any]:
    by_class = {label: _images_patients(films[films["label"] == label]) for label in reversed(CLASSES)}
    return {**_images_patients(films), "by_class": by_class}


def _images_patients(films: pd.DataFrame) -> dict[str, int]:
    return {"images": len(films), "patients": films["patientid"].nunique()}


def _pairs(names: Sequence[str], fingerprints: Sequence[Fingerprint], films: ReadFilms) -> list[tuple[int, int]]:
    """Positions of the films with the same content or (almost) the same picture, each (smaller, larger), sorted."""
    same_content = duplicate_pairs([replace(item, thumbnail=None) for item in fingerprints])
    position = {name: number for number, name in enumerate(names)}
    alike = [
        (min(position[one], position[other]), max(position[one], position[other]))
        for one, other in films.alike
        if one in position and other in position
    ]
    return sorted({*same_content, *alike})


def _duplicate_ids(count: int, pairs: Sequence[tuple[int, int]]) -> "pd.Series[Any]":
    """Number the groups of duplicates; NA for a picture on its own."""
    numbers = pd.Series(components(count, pairs))
    return numbers.where(numbers.duplicated(keep=False)).astype("Int64")
