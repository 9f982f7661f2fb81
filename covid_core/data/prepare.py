"""A dataset folder to a prepared one: `split/`, `split.csv` and `flow.json`; and the way back, for training.

This module owns the files. What stands in them is decided by `covid_core.data.plan`. The work is laid out aside and renamed,
so that a killed run leaves the former split, or one that `read_split` refuses and the next `prepare` replaces.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.data.cohort import CohortRules, flow_to_json, missing_files, select_cohort
from covid_core.data.duplicates import Progress
from covid_core.data.metadata import read_metadata, safe_image_path
from covid_core.data.plan import RECORD_COLUMNS, SplitPlan, plan_split, read_films, split_csv
from covid_core.data.split import FRACTIONS, PARTS
from covid_core.errors import DatasetError
from covid_core.labels import CLASSES
from covid_core.locations import IMAGES_NAME, METADATA_NAME
from covid_core.storage import sha256_of_file, write_json, written_aside

SPLIT_NAME = "split"
RECORD_NAME = "split.csv"
FLOW_NAME = "flow.json"

_ASIDE_NAME = ".split.partial"
_FORMER_NAME = ".split.former"
_LONGEST_HEADER = 1000


@dataclass(frozen=True)
class PreparedDataset(SplitPlan):
    """What a preparation gave.

    Attributes:
        out_dir: the folder with `split/`, `split.csv` and `flow.json`.
    """

    out_dir: Path

    def __repr__(self) -> str:
        return f"PreparedDataset({len(self.split)} images in {self.out_dir}, overlap {self.overlap})"


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
    films = read_films(images_dir, cohort.table["filename"].tolist(), progress, comparing=comparing)
    plan = plan_split(cohort, films, fractions, seed)
    prepared = PreparedDataset(**{field.name: getattr(plan, field.name) for field in fields(plan)}, out_dir=out_dir)
    account = {
        "metadata_sha256": sha256_of_file(dataset_dir / METADATA_NAME),
        "rules": asdict(rules),
        "fractions": dict(zip(PARTS, fractions, strict=True)),
        "seed": seed,
        **_account(prepared),
        "missing_files": _records(missing_files(table, images_dir)),
    }
    _write(prepared, images_dir, account)
    return prepared


def summary_lines(prepared: PreparedDataset) -> str:
    """Images and patients after each step, in each part, and in more than one part (which must be none), for the terminal."""
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
        f"({len(prepared.duplicate_pairs)} pairs of (almost) the same image were kept together).",
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


def _account(prepared: PreparedDataset) -> dict[str, Any]:
    """What `flow.json` tells of the outcome."""
    unreadable = prepared.exclusions[prepared.exclusions["step"] == "readable"]
    return {
        "flow": flow_to_json(prepared.flow),
        "parts": _records(prepared.parts),
        "overlap": asdict(prepared.overlap),
        "duplicates": [list(pair) for pair in prepared.duplicate_pairs],
        "unreadable_files": _records(unreadable[["filename", "reason"]]),
        "exclusions": _records(prepared.exclusions),
    }


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


def _write(prepared: PreparedDataset, images_dir: Path, account: dict[str, Any]) -> None:
    sources = [safe_image_path(images_dir, name) for name in prepared.split["filename"]]
    write_split(prepared.out_dir, prepared.split, sources)
    write_json(prepared.out_dir / FLOW_NAME, account)


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
