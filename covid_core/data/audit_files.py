"""The checks of an audit that look at files: names, presence, content against name, and the same picture twice.

Reads every file once. Pictures are compared as `covid_core.data.duplicates` does; its limits were measured on frontal X-rays,
so CT slices are compared by content alone. SciPy, which compares pictures, is loaded when the first file is read: whoever shows
an audit need not wait for it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from covid_core.data.audit_finding import Finding, Say, counted, given, not_checked, rows_of
from covid_core.data.duplicates import Fingerprint, duplicate_pairs, fingerprint_files
from covid_core.data.metadata import safe_image_path
from covid_core.errors import DatasetError
from covid_core.images.decode import is_dicom
from covid_core.images.raster import kind_of

if TYPE_CHECKING:
    from covid_core.data.pictures import PictureStore

Progress = Callable[[int, int], None]

MOST_COMPARED = 5000
"""Pictures; the comparison takes memory with the square of their number, 100 MB a matrix for this many."""
_HEAD_BYTES = 256
_NAMED = {
    "png": "PNG",
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "dcm": "DICOM",
    "dicom": "DICOM",
    "gz": "GZIP",
    "gif": "GIF",
    "bmp": "BMP",
    "tif": "TIFF",
    "tiff": "TIFF",
}
"""File extension, in lower case -> the type it promises."""
_OTHER_SIGNATURES = {b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"\x1f\x8b": "GZIP"}
_FILE_CHECKS = ("missing_files", "unreadable_files", "file_types", *("exact_duplicates", "near_duplicates"))
_ACROSS = "duplicates_across_patients"


class FilePair(NamedTuple):
    """Two rows of the table, first < second, with (almost) the same picture; `same_content` if byte for byte."""

    first: int
    second: int
    same_content: bool


@dataclass(frozen=True)
class FilesAudited:
    """What the files told.

    Attributes:
        findings: one a check.
        pairs: of rows with (almost) the same picture; empty where no file was read.
    """

    findings: tuple[Finding, ...]
    pairs: tuple[FilePair, ...]


def audit_files(
    table: pd.DataFrame,
    images_dir: Path | None,
    progress: Progress | None = None,
    say: Say = lambda _: None,
    store: "PictureStore | None" = None,
) -> FilesAudited:
    """Run the checks of names and files.

    Args:
        table: as `read_metadata` gives it, numbered from 0.
        images_dir: the folder of images; where there is none, the checks say so. None for a table alone.
        progress: called after each file, and after each picture that was compared.
        say: called before the files are read, and before their pictures are compared.
        store: keeps what was read of a file, so that it is not read again; None to read every file.
    """
    paths, escaping = _safe_paths(table, images_dir or Path())
    named = [_escaping_names(table, escaping), _repeated_names(table)]
    if images_dir is None or not images_dir.is_dir():
        why = "there is a table alone, without a folder of images."
        if images_dir is not None:
            why = "the folder of images is not there. `fetch` downloads it."
        return FilesAudited((*named, *(not_checked(check, why) for check in (*_FILE_CHECKS, _ACROSS))), ())
    present = {place: path for place, path in paths.items() if path.is_file()}
    say(f"Reading {counted(len(present), 'file')}")
    prints = dict(zip(present, fingerprint_files(list(present.values()), progress, store=store), strict=True))
    pairs, why_not = _pairs(table, prints, progress, say)
    found = [
        *named,
        _missing(table, paths, present),
        _unreadable(table, prints),
        _types(table, present),
        _exact(table, pairs),
        not_checked("near_duplicates", why_not) if why_not else _near(table, pairs),
        _across(table, pairs),
    ]
    return FilesAudited(tuple(found), pairs)


def content_type(head: bytes) -> str | None:
    """The type of a file by how it begins: PNG, JPEG, DICOM, GIF, BMP, TIFF, GZIP; None for any other.

    Args:
        head: its first 256 bytes, or all of them.
    """
    kind = kind_of(head)
    if kind is not None:
        return kind
    if is_dicom(head):
        return "DICOM"
    return next((name for signature, name in _OTHER_SIGNATURES.items() if head.startswith(signature)), None)


def _safe_paths(table: pd.DataFrame, images_dir: Path) -> tuple[dict[int, Path], list[tuple[int, str]]]:
    """Index of a row -> where its file should be; and the rows whose name is no plain one. A repeated name counts once."""
    paths: dict[int, Path] = {}
    escaping = []
    repeated = table["filename"].duplicated()
    for place, name in given(table, "filename"):
        try:
            path = safe_image_path(images_dir, name)
        except DatasetError:
            escaping.append((place, "not a plain name inside the folder"))
            continue
        if not repeated[place]:
            paths[place] = path
    return paths, escaping


def _pairs(
    table: pd.DataFrame, prints: dict[int, Fingerprint], progress: Progress | None, say: Say
) -> tuple[tuple[FilePair, ...], str]:
    """The rows with (almost) the same picture; and why pictures were compared by content alone, '' if they were not."""
    x_ray = (table["modality"].str.lower() == "x-ray").fillna(False).astype(bool)
    by_content = [Fingerprint(item.sha256, None) for item in prints.values()]
    chosen = [item if x_ray[place] else bare for (place, item), bare in zip(prints.items(), by_content, strict=True)]
    compared, why_not = sum(item.thumbnail is not None for item in chosen), ""
    if compared > MOST_COMPARED:
        why_not = f"more than {MOST_COMPARED} pictures are too many to compare with each other."
    else:
        say(f"Comparing {counted(compared, 'picture')} with each other")
    positions = duplicate_pairs(by_content if why_not else chosen, progress=progress)
    places = list(prints)
    pairs = [(places[first], places[second]) for first, second in positions]
    return tuple(FilePair(a, b, prints[a].sha256 == prints[b].sha256) for a, b in pairs), why_not


def _escaping_names(table: pd.DataFrame, escaping: list[tuple[int, str]]) -> Finding:
    return Finding(
        "escaping_names",
        "error",
        len(escaping),
        f"{counted(len(escaping), 'row names', 'rows name')} a file outside the folder of images, or one that no file can "
        "have. Such a file is never opened; correct the name.",
        rows_of(table, escaping),
    )


def _repeated_names(table: pd.DataFrame) -> Finding:
    again = table["filename"].notna() & table["filename"].duplicated()
    rows = table[again]
    return Finding(
        "repeated_names",
        "warning",
        len(rows),
        f"{counted(len(rows), 'row names', 'rows name')} a file that an earlier row names already. Only the first is used.",
        rows_of(rows, ((place, "named in an earlier row") for place in rows.index)),
    )


def _missing(table: pd.DataFrame, paths: dict[int, Path], present: dict[int, Path]) -> Finding:
    nameless = [(place, "no file name is given") for place in table.index[table["filename"].isna()]]
    folder = table["folder"]
    absent = [(place, _absent(folder[place])) for place in paths if place not in present]
    strange = sorted([*nameless, *absent])
    return Finding(
        "missing_files",
        "warning",
        len(strange),
        f"{counted(len(strange), 'row has', 'rows have')} no file in the folder of images. They are left out; `fetch` brings "
        "what can be had.",
        rows_of(table, strange),
    )


def _absent(folder: object) -> str:
    return f"not there (folder {folder})" if isinstance(folder, str) and folder != "images" else "not there"


def _unreadable(table: pd.DataFrame, prints: dict[int, Fingerprint]) -> Finding:
    strange = [(place, item.problem) for place, item in prints.items() if item.problem]
    return Finding(
        "unreadable_files",
        "error",
        len(strange),
        f"{counted(len(strange), 'file cannot', 'files cannot')} be read as a film. Take them anew from the collection.",
        rows_of(table, strange),
    )


def _types(table: pd.DataFrame, present: dict[int, Path]) -> Finding:
    strange = []
    for place, path in present.items():
        promised = _NAMED.get(path.suffix.lower().lstrip("."))
        held = content_type(_head(path))
        if promised is not None and held != promised:
            strange.append((place, f"named {promised}, holds {held or 'another type'}"))
    return Finding(
        "file_types",
        "notice",
        len(strange),
        f"{counted(len(strange), 'file is', 'files are')} of another type than the name says. They are read by their content.",
        rows_of(table, strange),
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:  # reported as unreadable
        return b""


def _exact(table: pd.DataFrame, pairs: Sequence[FilePair]) -> Finding:
    earliest: dict[int, FilePair] = {}
    for pair in pairs:
        if pair.same_content:
            earliest.setdefault(pair.second, pair)
    return Finding(
        "exact_duplicates",
        "warning",
        len(earliest),
        f"{counted(len(earliest), 'file has', 'files have')} the same content as an earlier one.",
        rows_of(table, _described(table, list(earliest.values()))),
    )


def _near(table: pd.DataFrame, pairs: Sequence[FilePair]) -> Finding:
    alike = [pair for pair in pairs if not pair.same_content]
    return Finding(
        "near_duplicates",
        "warning",
        len(alike),
        f"{counted(len(alike), 'pair of X-rays is', 'pairs of X-rays are')} almost the same picture: saved again, cropped, "
        "or drawn on. `prepare` keeps them in one part.",
        rows_of(table, _described(table, alike)),
    )


def _across(table: pd.DataFrame, pairs: Sequence[FilePair]) -> Finding:
    patient, label = table["patientid"], table["label"]
    apart = [pair for pair in pairs if patient[pair.first] != patient[pair.second]]
    torn = [
        pair
        for pair in apart
        if label[[pair.first, pair.second]].notna().all() and label[pair.first] != label[pair.second]
    ]
    more = f" {counted(len(torn), 'pair has', 'pairs have')} contrary classes: one must be wrong." if torn else ""
    return Finding(
        _ACROSS,
        "error" if torn else "warning",
        len(apart),
        f"{counted(len(apart), 'pair', 'pairs')} of (almost) the same picture under different patients. A split by patient "
        f"alone puts them on both sides; `prepare` does not.{more}",
        rows_of(table, _described(table, apart)),
    )


def _described(table: pd.DataFrame, pairs: Sequence[FilePair]) -> Iterator[tuple[int, str]]:
    """Two rows a pair, each naming the other."""
    name = table["filename"]
    for first, second, same in pairs:
        how = "same content as" if same else "almost the same picture as"
        yield first, f"{how} {name[second]!s}"
        yield second, f"{how} {name[first]!s}"
