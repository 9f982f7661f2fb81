"""The checks of an audit that look at files: names, presence, content against name, and the same picture twice.

Reads every file once. Pictures are compared as `covid_core.data.duplicates` does; its limits were measured on frontal X-rays,
so CT slices are compared by content alone. SciPy, which compares pictures, is loaded when the first file is read: whoever shows
an audit need not wait for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from covid_core.data.audit_finding import Finding, Say, counted, given, not_checked, rows_of
from covid_core.data.duplicates import (
    Fingerprint,
    FingerprintFiles,
    Progress,
    components,
    duplicate_pairs,
    fingerprint_files,
)
from covid_core.data.metadata import safe_image_path
from covid_core.errors import DatasetError
from covid_core.images.decode import is_dicom
from covid_core.images.raster import kind_of
from covid_core.labels import CLASS_TITLES
from covid_core.locations import IMAGES_NAME

MOST_COMPARED = 5000
"""Pictures; the time of the comparison grows with the square of their number, to 5 minutes for this many (see
`duplicate_pairs`)."""
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
_ACROSS = "duplicates_across_patients"
_READING_CHECKS = ("unreadable_files", "file_types", "exact_duplicates", "near_duplicates", _ACROSS)
"""The checks that read files."""


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
        any_present: whether any file of the table is there.
    """

    findings: tuple[Finding, ...]
    pairs: tuple[FilePair, ...]
    any_present: bool


def audit_files(
    table: pd.DataFrame,
    images_dir: Path | None,
    progress: Progress | None = None,
    say: Say = lambda _: None,
    fingerprints: FingerprintFiles = fingerprint_files,
) -> FilesAudited:
    """Run the checks of names and files.

    Args:
        table: as `read_metadata` gives it, numbered from 0.
        images_dir: the folder of images; not a single file in it is an error. None for the table alone, as the checks then say.
        progress: called after each file, and after each picture that was compared.
        say: called before the files are read, and before their pictures are compared.
        fingerprints: reads the files.
    """
    paths, escaping = _safe_paths(table, images_dir or Path())
    named = [_escaping_names(table, escaping), _repeated_names(table)]
    if images_dir is None:
        unread = [not_checked(check, "the table alone is audited.") for check in ("missing_files", *_READING_CHECKS)]
        return FilesAudited((*named, *unread), (), any_present=False)
    present = {place: path for place, path in paths.items() if path.is_file()}
    missing = _missing(table, paths, present)
    if not present:
        unread = [not_checked(check, "no file of the table is there.") for check in _READING_CHECKS]
        return FilesAudited((*named, missing, *unread), (), any_present=False)
    say(f"Reading {counted(len(present), 'file')}")
    prints = dict(zip(present, fingerprints(list(present.values()), progress), strict=True))
    pairs, why_not = _pairs(table, prints, progress, say)
    found = [
        *named,
        missing,
        _unreadable(table, prints),
        _types(table, present),
        _exact(table, pairs),
        not_checked("near_duplicates", why_not) if why_not else _near(table, pairs),
        _across(table, pairs, why_not),
    ]
    return FilesAudited(tuple(found), pairs, any_present=True)


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
    none_there = bool(paths) and not present
    what = "They are left out"
    if none_there:
        what = "Not one is there, so that only the table is audited; `--table-only` says that it is meant so"
    elsewhere = sum(_is_elsewhere(folder[place]) for place, _ in absent)
    more = f", but not the {elsewhere} of another folder than {IMAGES_NAME}, such as CT volumes" if elsewhere else ""
    return Finding(
        "missing_files",
        "error" if none_there else "warning",
        len(strange),
        f"{counted(len(strange), 'row has', 'rows have')} no file in the folder of images. {what}. `fetch` brings what can be "
        f"had{more}.",
        rows_of(table, strange),
    )


def _absent(folder: object) -> str:
    return f"not there (folder {folder})" if _is_elsewhere(folder) else "not there"


def _is_elsewhere(folder: object) -> bool:
    """Whether the collection keeps a file in another folder than that of images, as it does CT volumes."""
    return isinstance(folder, str) and folder != IMAGES_NAME


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


def _across(table: pd.DataFrame, pairs: Sequence[FilePair], why_not: str) -> Finding:
    """The groups of (almost) the same picture that have several patients, and those among them that have both classes.

    Groups, not pairs: of several files of one content each is paired with the first alone.
    """
    rows = _grouped(table, pairs)
    counts = rows.groupby("group")[["patientid", "label"]].nunique()
    groups = counts[counts["patientid"] > 1]
    if why_not and groups.empty:
        return not_checked(_ACROSS, f"no content is under different patients, but {why_not}")
    torn = groups.index[groups["label"] > 1]
    more = (
        f" {counted(len(torn), 'group has', 'groups have')} contrary classes: one must be wrong." if len(torn) else ""
    )
    if why_not:
        more += f" Only files of the same content were looked for: {why_not}"
    rows = rows[rows["group"].isin(groups.index)].sort_values("group", kind="stable")
    title = (rows["label"].map(CLASS_TITLES).fillna("no class") + ": ").where(rows["group"].isin(torn), "")
    partner = _partners(table, pairs)
    return Finding(
        _ACROSS,
        "error" if len(torn) else "warning",
        len(groups),
        f"{counted(len(groups), 'group', 'groups')} of (almost) the same picture under different patients. A split by patient "
        f"alone puts them on both sides; `prepare` does not.{more}",
        rows_of(table, ((place, words + partner[place]) for place, words in zip(title.index, title, strict=True))),
    )


def _grouped(table: pd.DataFrame, pairs: Sequence[FilePair]) -> pd.DataFrame:
    """The rows that are in a pair: `patientid`, `label` and `group`, the number of all those that pairs link with each other."""
    numbers = components(len(table), [(pair.first, pair.second) for pair in pairs])
    places = sorted({place for pair in pairs for place in (pair.first, pair.second)})
    return table.loc[places, ["patientid", "label"]].assign(group=numbers[places])


def _partners(table: pd.DataFrame, pairs: Sequence[FilePair]) -> dict[int, str]:
    """Index of a row in a pair -> which other one it is like: one of another patient, if it is paired with such."""
    name, patient = table["filename"].tolist(), table["patientid"].tolist()
    partner: dict[int, str] = {}
    for first, second, same in sorted(pairs, key=lambda pair: patient[pair.first] == patient[pair.second]):
        partner.setdefault(first, _like(name[second], same_content=same))
        partner.setdefault(second, _like(name[first], same_content=same))
    return partner


def _described(table: pd.DataFrame, pairs: Sequence[FilePair]) -> Iterator[tuple[int, str]]:
    """Two rows a pair, each naming the other."""
    name = table["filename"]
    for first, second, same in pairs:
        yield first, _like(name[second], same_content=same)
        yield second, _like(name[first], same_content=same)


def _like(name: object, *, same_content: bool) -> str:
    return f"{'same content as' if same_content else 'almost the same picture as'} {name}"
