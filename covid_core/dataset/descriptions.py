"""What the collection says of images by their file names: the columns that subgroups and links need beside predictions.

Reads `metadata.csv` and, where it is there, the severity scores of the annotations. Knows no model, and opens no image.

Severity is the extent of lung involvement, 0 (none) to 8 (all of both lungs), the mean of three readers, given for 94 images
(J. P. Cohen et al., Predicting COVID-19 Pneumonia Severity on Chest X-ray with Deep Learning, Cureus 12 (2020) e9448).
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from covid_core.dataset.metadata import read_metadata
from covid_core.errors import DatasetError
from covid_core.paths import METADATA_NAME

DESCRIPTION_COLUMNS = ("finding", "view", "sex", "age", "rt_pcr", "severity", "url")
SEVERITY_NAME = "annotations/covid-severity-scores.csv"
MAX_SEVERITY = 8.0

_EXTENT_COLUMNS = ("geographic_mean", "geographic_extent_mean")
"""The header of the published file, and the name that its own comment uses."""
_COMMENT = "##"
_TEXT_COLUMNS = ("finding", "view", "sex", "rt_pcr", "url")


def described(filenames: Sequence[str], collection: Path) -> pd.DataFrame:
    """Describe images by what the collection's tables say of them.

    Args:
        filenames: n file names, in any order; one that the table does not name gets a row of NA.
        collection: the folder with `metadata.csv`, and with `annotations/` if severity is to be known.

    Returns:
        n rows, numbered from 0 in the order of `filenames`, with `DESCRIPTION_COLUMNS`: text as the table has it (NA where
        blank); `age` float64, years; `rt_pcr` `Y` or `N`, NA for all else, as `Unclear` is no result; `severity` float64 in
        [0, 8]; `url` only if it is an http or https address. Of several rows of one file name the first counts.

    Raises:
        DatasetError: the table is missing or is none, or the severity scores cannot be read.
    """
    table = read_metadata(collection / METADATA_NAME)
    rows = table[table["filename"].notna()].drop_duplicates("filename").set_index("filename")
    known = pd.DataFrame(
        {
            **{name: rows[name] for name in ("finding", "view", "sex", "age")},
            "rt_pcr": rows["RT_PCR_positive"].str.upper().where(rows["RT_PCR_positive"].str.upper().isin(["Y", "N"])),
            "url": rows["url"].where(rows["url"].map(is_web_address).astype(bool)),
        }
    ).reindex(list(filenames))
    severity = severity_scores(collection / SEVERITY_NAME)
    known["severity"] = pd.Series([severity.get(name) for name in filenames], index=known.index, dtype="float64")
    texts = dict.fromkeys(_TEXT_COLUMNS, "str")
    return known[list(DESCRIPTION_COLUMNS)].astype(texts).reset_index(drop=True)


def is_web_address(url: object) -> bool:
    """Tell whether a link to this can be shown, that is http or https: `javascript:` and the like must never become one."""
    if not isinstance(url, str) or any(character.isspace() or not character.isprintable() for character in url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:  # such as an unbalanced bracket
        return False


def severity_scores(path: Path) -> dict[str, float]:
    """Read the severity of every image that has a score.

    Args:
        path: `SEVERITY_NAME` within the collection.

    Returns:
        File name -> extent in [0, `MAX_SEVERITY`]; empty without the file.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as cause:
        raise DatasetError(
            f"{path} cannot be read as text. Take it again from the collection, or remove it."
        ) from cause
    rows = csv.reader(line for line in text.splitlines() if not line.startswith(_COMMENT))
    try:
        header = [cell.strip() for cell in next(rows, [])]
        column = next((header.index(name) for name in _EXTENT_COLUMNS if name in header), None)
        if column is None or "filename" not in header:
            raise DatasetError(
                f"{path} lacks the columns filename and {_EXTENT_COLUMNS[0]}. Take it again from the collection, or remove it. "
                f"Received: {', '.join(header)[:100] or 'an empty file'}"
            )
        return _scores_by_name([row for row in rows if any(row)], header.index("filename"), column, path)
    except csv.Error as cause:
        raise DatasetError(f"{path} is not a readable CSV: {cause}. Take it again, or remove it.") from cause


def _scores_by_name(rows: list[list[str]], name_column: int, column: int, path: Path) -> dict[str, float]:
    scores: dict[str, float] = {}
    for row in rows:
        cells = [*row, *[""] * (max(name_column, column) + 1 - len(row))]
        name, cell = cells[name_column].strip(), cells[column].strip()
        if name and cell and name not in scores:
            scores[name] = _score(cell, name, path)
    return scores


def _score(cell: str, name: str, path: Path) -> float:
    try:
        score = float(cell)
    except ValueError:
        score = math.nan
    if not 0 <= score <= MAX_SEVERITY:
        raise DatasetError(
            f"{path}: the extent of {name} must be a number from 0 to {MAX_SEVERITY:g}. Correct or remove this row. "
            f"Received: {cell[:40]!r}"
        )
    return score
