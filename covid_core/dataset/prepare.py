"""From a collection to a split: which images are used, in which part, and the folder that holds them; and the way back.

`read_images` reads and compares the images once, `plan_split` decides without an image, `prepare_dataset` writes `split/`,
`split.csv` and `flow.json`, `read_split` reads them. The work is laid out aside and renamed, so that a killed run leaves the
former split, or one that `read_split` refuses and the next `prepare` replaces.
"""

import os
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.dataset.cohort import Cohort, CohortRules, FlowStep, exclude, flow_to_json, missing_files, select_cohort
from covid_core.dataset.duplicates import (
    Fingerprint,
    FingerprintFiles,
    Progress,
    components,
    duplicate_pairs,
    fingerprint_files,
)
from covid_core.dataset.metadata import read_metadata, safe_image_path
from covid_core.dataset.split import FRACTIONS, PARTS, Overlap, count_parts, group_ids, overlap, split_parts
from covid_core.errors import DatasetError
from covid_core.labels import CLASS_TITLES, CLASSES
from covid_core.paths import IMAGES_NAME, METADATA_NAME
from covid_core.files import sha256_of_file, write_json, written_aside

SPLIT_NAME = "split"
RECORD_NAME = "split.csv"
FLOW_NAME = "flow.json"

_ASIDE_NAME = ".split.partial"
_FORMER_NAME = ".split.former"
_LONGEST_HEADER = 1000

RECORD_COLUMNS = ("filename", "patientid", "label", "part", "sha256")
"""The columns of `split.csv` that others rely on."""
FURTHER_COLUMNS = ("group", "duplicate", "source", "view", "sex", "age", "finding")

PART_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}
WIDEST_RULES = CohortRules(ambiguous="non_covid", include_supine=True)
"""They use every image that any rules use: once these are read, any split is decided without an image."""
DEFAULT_OUT = "dataset"
"""Where `prepare` writes by default."""


@dataclass(frozen=True)
class PlanRules:
    """What a user may decide: the cohort, the shares of train, val and test (summing to 1), and the seed of the split."""

    cohort: CohortRules = field(default_factory=CohortRules)
    fractions: tuple[float, float, float] = FRACTIONS
    seed: int = 0


@dataclass(frozen=True)
class Fingerprints:
    """Images that were read and compared with each other.

    Attributes:
        fingerprints: by file name.
        alike: pairs of file names with (almost) the same image. Files of the same content are not among them unless their
            images say so: these are paired within the images that are used.
    """

    fingerprints: Mapping[str, Fingerprint]
    alike: frozenset[tuple[str, str]]

    def __repr__(self) -> str:
        return f"ReadFilms({len(self.fingerprints)} images, {len(self.alike)} pairs alike)"


@dataclass(frozen=True)
class SplitPlan:
    """Which images are used, and in which part.

    Attributes:
        split: the rows of `split.csv`: `RECORD_COLUMNS` and `FURTHER_COLUMNS`.
        flow: the steps from the table to the cohort.
        exclusions: one row per image left out, with its reason.
        parts: images and patients per part and class, as `count_parts` gives them.
        overlap: patients and duplicates in more than one part.
        duplicate_pairs: pairs of file names with (almost) the same image.
    """

    split: pd.DataFrame
    flow: tuple[FlowStep, ...]
    exclusions: pd.DataFrame
    parts: pd.DataFrame
    overlap: Overlap
    duplicate_pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PreparedDataset(SplitPlan):
    """A split that was written: `out_dir` holds `split/`, `split.csv` and `flow.json`."""

    out_dir: Path

    def __repr__(self) -> str:
        return f"PreparedDataset({len(self.split)} images in {self.out_dir}, overlap {self.overlap})"


def read_images(
    images_dir: Path,
    filenames: Sequence[str],
    progress: Progress | None = None,
    fingerprints: FingerprintFiles = fingerprint_files,
    comparing: Progress | None = None,
) -> Fingerprints:
    """Read images and compare each with the others.

    Args:
        images_dir: the folder of the images.
        filenames: plain names in it, each once.
        progress: called after each image that was read.
        fingerprints: reads the files; that of an image cache is quicker the next time.
        comparing: called after each image that was compared with the others.
    """
    names = list(filenames)
    paths = [safe_image_path(images_dir, name) for name in names]
    found = fingerprints(paths, progress)
    pairs = duplicate_pairs([replace(item, sha256="") for item in found], progress=comparing)
    return Fingerprints(
        dict(zip(names, found, strict=True)),
        frozenset((names[first], names[second]) for first, second in pairs),
    )


def readable_cohort(cohort: Cohort, images: Fingerprints) -> Cohort:
    """Take the last step of the flow: leave out what cannot be decoded.

    Args:
        cohort: as `select_cohort` gives it with a folder of images.
        images: at least all images of the cohort.

    Raises:
        DatasetError: an image of the cohort was not read.
    """
    unread = [name for name in cohort.table["filename"] if name not in images.fingerprints]
    if unread:
        raise DatasetError(
            f"{len(unread)} images came after the others were read, the first is {unread[0]}. Read the images again."
        )
    reasons = [images.fingerprints[name].problem for name in cohort.table["filename"]]
    problems = pd.Series(reasons, index=cohort.table.index, dtype="str")
    return exclude(cohort, "readable", "the file cannot be read as an image", problems != "", problems)


def plan_split(
    cohort: Cohort, images: Fingerprints, fractions: Sequence[float] = FRACTIONS, seed: int = 0
) -> SplitPlan:
    """Decide which images are used and the part of each.

    Args:
        cohort: as `select_cohort` gives it with a folder of images.
        images: at least all images of the cohort; more of them change nothing.
        fractions: shares of train, val and test.
        seed: of the split.

    Returns:
        The plan; the same input gives the same bytes of `split_csv`.

    Raises:
        DatasetError: no image is left, the shares are unusable, or a part would lack a class.
    """
    cohort = readable_cohort(cohort, images)
    if cohort.table.empty:
        raise DatasetError("No image can be used: no frontal X-ray with a label has a readable file.")
    images_used = cohort.table.reset_index(drop=True)
    names = images_used["filename"].tolist()
    fingerprints = [images.fingerprints[name] for name in names]
    pairs = _pairs(names, fingerprints, images)
    table = images_used.assign(
        sha256=[item.sha256 for item in fingerprints],
        group=group_ids(images_used["patientid"].tolist(), pairs),
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


def prepare_dataset(
    dataset_dir: Path,
    out_dir: Path,
    *,
    rules: CohortRules | None = None,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    progress: Progress | None = None,
    comparing: Progress | None = None,
) -> PreparedDataset:
    """Select the cohort, find its duplicates, split it and lay the parts out as folders.

    Args:
        dataset_dir: holds `metadata.csv` and `images/`.
        out_dir: gets `split/{train,val,test}/{non_covid,covid}/`, `split.csv` and `flow.json`; a former split of ours is
            replaced.
        rules: of the cohort; the defaults for None.
        fractions: shares of train, val and test.
        seed: of the split; the same seed gives the same bytes of `split.csv`.
        progress: called after each image that was read.
        comparing: called after each image that was compared with the others.

    Returns:
        What was done.

    Raises:
        DatasetError: the dataset cannot be used, or `out_dir` holds a `split` that is not ours.
    """
    rules = rules or CohortRules()
    images_dir = dataset_dir / IMAGES_NAME
    table = read_metadata(dataset_dir / METADATA_NAME)
    _check_out_dir(out_dir)
    if not images_dir.is_dir():
        raise DatasetError(f"{images_dir} is missing. The dataset needs its images there; `fetch` downloads them.")
    cohort = select_cohort(table, images_dir, rules)
    images = read_images(images_dir, cohort.table["filename"].tolist(), progress, comparing=comparing)
    plan = plan_split(cohort, images, fractions, seed)
    prepared = PreparedDataset(**vars(plan), out_dir=out_dir)
    unreadable = plan.exclusions[plan.exclusions["step"] == "readable"]
    account = {
        "metadata_sha256": sha256_of_file(dataset_dir / METADATA_NAME),
        "rules": asdict(rules),
        "fractions": dict(zip(PARTS, fractions, strict=True)),
        "seed": seed,
        "flow": flow_to_json(plan.flow),
        "parts": _records(plan.parts),
        "overlap": asdict(plan.overlap),
        "duplicates": [list(pair) for pair in plan.duplicate_pairs],
        "unreadable_files": _records(unreadable[["filename", "reason"]]),
        "exclusions": _records(plan.exclusions),
        "missing_files": _records(missing_files(table, images_dir)),
    }
    write_split(out_dir, plan.split, [safe_image_path(images_dir, name) for name in plan.split["filename"]])
    write_json(out_dir / FLOW_NAME, account)
    return prepared


def summary_lines(prepared: PreparedDataset) -> str:
    """A prepared dataset as text: the flow, the parts, and what is in more than one part (it must be nothing)."""
    lines = ["images  patients  left out"]
    for step in prepared.flow:
        left_out = f"{step.excluded_images:8d}  {step.reason}" if step.excluded_images else "       -"
        lines.append(f"{step.images:6d}  {step.patients:8d}  {left_out}")
    lines += ["", "part   class      images  patients"]
    for row in prepared.parts.to_dict("records"):
        lines.append(f"{row['part']:5}  {row['label']:9}  {row['images']:6d}  {row['patients']:8d}")
    lines += [
        "",
        f"In more than one part: {prepared.overlap.patients} patients, {prepared.overlap.duplicates} duplicates "
        f"({len(prepared.duplicate_pairs)} pairs of (almost) the same picture were kept together).",
        f"written: {prepared.out_dir / 'split'}, split.csv, flow.json",
    ]
    return "\n".join(lines)


def read_split(out_dir: Path) -> pd.DataFrame:
    """Read a prepared split and check that it is whole.

    Args:
        out_dir: what `prepare` was given as `--out`.

    Returns:
        The rows of `split.csv`: `RECORD_COLUMNS` as text, `group` (the patient where the file has none), `source` (NA where
        it has none), and any further column; `age` is float64, years.

    Raises:
        DatasetError: there is no split, a column or an image is missing, or a label or part is not known.
    """
    record = out_dir / RECORD_NAME
    again = "Run `python -m covid_core prepare` again."
    try:
        split = pd.read_csv(record, dtype="str", keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise DatasetError(
            f"{record} is missing. Run `python -m covid_core prepare --dataset DIR --out {out_dir}` first."
        ) from None
    except (OSError, ValueError) as cause:  # pandas' parser errors are ValueErrors
        raise DatasetError(f"{record} cannot be read: {cause}. {again}") from cause
    lacking = [name for name in RECORD_COLUMNS if name not in split.columns]
    if lacking:
        raise DatasetError(f"{record} lacks the columns {', '.join(lacking)}. {again}")
    if split.empty or split[list(RECORD_COLUMNS)].isna().to_numpy().any():
        raise DatasetError(f"{record} has no rows, or rows with blank fields. {again}")
    for name, allowed in (("label", CLASSES), ("part", PARTS)):
        strange = sorted(set(split[name]) - set(allowed))
        if strange:
            raise DatasetError(f"{record}: a {name} must be one of {', '.join(allowed)}. Received: {strange[0]!r}")
    absent = [path for path in (split_image_path(out_dir, row) for _, row in split.iterrows()) if not path.is_file()]
    if absent:
        raise DatasetError(f"{len(absent)} images of {record} are missing, the first is {absent[0]}. {again}")
    if "group" not in split.columns:
        split["group"] = split["patientid"]
    if "source" not in split.columns:
        split["source"] = pd.Series(pd.NA, index=split.index, dtype="str")
    if "age" in split.columns:
        split["age"] = pd.to_numeric(split["age"], errors="coerce").astype("float64")
    return split


def split_image_path(out_dir: Path, row: "pd.Series[Any]") -> Path:
    """Where the image of a row of `split.csv` stands."""
    return safe_image_path(out_dir / SPLIT_NAME / row["part"] / row["label"], row["filename"])


def split_image_paths(out_dir: Path) -> list[Path]:
    """Where the images of a prepared dataset are, in the order of `split.csv`."""
    return [split_image_path(out_dir, row) for _, row in read_split(out_dir).iterrows()]


def _counted(rows: pd.DataFrame) -> dict[str, Any]:
    by_class = {label: _images_patients(rows[rows["label"] == label]) for label in reversed(CLASSES)}
    return {**_images_patients(rows), "by_class": by_class}


def _images_patients(rows: pd.DataFrame) -> dict[str, int]:
    return {"images": len(rows), "patients": rows["patientid"].nunique()}


def _pairs(names: Sequence[str], fingerprints: Sequence[Fingerprint], images: Fingerprints) -> list[tuple[int, int]]:
    """Positions of the images with the same content or (almost) the same pixels, each (smaller, larger), sorted."""
    same_content = duplicate_pairs([replace(item, thumbnail=None) for item in fingerprints])
    position = {name: number for number, name in enumerate(names)}
    alike = [
        (min(position[one], position[other]), max(position[one], position[other]))
        for one, other in images.alike
        if one in position and other in position
    ]
    return sorted({*same_content, *alike})


def _duplicate_ids(count: int, pairs: Sequence[tuple[int, int]]) -> "pd.Series[Any]":
    """Number the groups of duplicates; NA for an image on its own."""
    numbers = pd.Series(components(count, pairs))
    return numbers.where(numbers.duplicated(keep=False)).astype("Int64")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, with None for NA (JSON has no NaN)."""
    values = table.astype(object).where(table.notna(), None)
    return [dict(zip(table.columns, row, strict=True)) for row in values.itertuples(index=False)]


def _check_out_dir(out_dir: Path) -> None:
    """Refuse to replace a `split` that this module did not write."""
    split_dir = out_dir / SPLIT_NAME
    ours = _is_record(out_dir / RECORD_NAME)
    if split_dir.is_symlink() or (
        split_dir.exists() and not ours and (split_dir.is_file() or any(split_dir.iterdir()))
    ):
        raise DatasetError(
            f"{split_dir} exists but was not made by `prepare` (no {RECORD_NAME} beside it). Move it away, or choose "
            "another --out."
        )


def _is_record(path: Path) -> bool:
    """Whether a file is a `split.csv` of ours, by its header."""
    try:
        with path.open(encoding="utf-8") as file:
            header = file.readline(_LONGEST_HEADER)
    except (OSError, UnicodeDecodeError):
        return False
    return header.startswith(",".join(RECORD_COLUMNS))


def write_split(out_dir: Path, split: pd.DataFrame, sources: Sequence[Path]) -> None:
    """Lay the parts out aside, then put record and folder in place.

    Args:
        out_dir: gets `split/` and `split.csv`.
        split: rows with `RECORD_COLUMNS` and any further ones. A `flow.json` that tells of another split is removed.
        sources: the image of each row.

    Raises:
        DatasetError: the folder cannot be written.
    """
    aside, former, final = out_dir / _ASIDE_NAME, out_dir / _FORMER_NAME, out_dir / SPLIT_NAME
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for leftover in (aside, former):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            _lay_out(aside, split, sources)
            (out_dir / FLOW_NAME).unlink(missing_ok=True)  # no split shall stand beside the account of another
            with written_aside(out_dir / RECORD_NAME) as path:  # first: it says that what follows is ours
                path.write_bytes(split_csv(split))
            if final.exists():
                final.rename(former)
            aside.rename(final)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as cause:
        raise DatasetError(f"{out_dir} cannot be written: {cause.strerror or cause}.") from cause
    shutil.rmtree(former, ignore_errors=True)


def _lay_out(folder: Path, split: pd.DataFrame, sources: Sequence[Path]) -> None:
    for part in PARTS:
        for label in CLASSES:
            (folder / part / label).mkdir(parents=True)
    _link_or_copy(
        (source, safe_image_path(folder / row["part"] / row["label"], row["filename"]))
        for source, (_, row) in zip(sources, split.iterrows(), strict=True)
    )


def _link_or_copy(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Give each file a second name; copy where the file system cannot link (another disk, or one without links)."""
    for source, target in pairs:
        try:
            os.link(source.resolve(), target)
        except OSError:
            shutil.copyfile(source, target)
