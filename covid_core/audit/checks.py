"""The checks of an audit as one table: name, title, severity, what finds the rows, and the sentence."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd

from covid_core.audit.files import FilePair, FilesRead
from covid_core.audit.finding import Finding, Severity
from covid_core.dataset.cohort import ambiguous_rows
from covid_core.dataset.duplicates import components
from covid_core.dataset.metadata import UnreadableNumbers
from covid_core.labels import CLASS_TITLES, COVID, finding_components
from covid_core.paths import IMAGES_NAME

VIEWS = {"x-ray": ("PA", "AP", "AP Supine", "L"), "ct": ("Axial", "Coronal")}
"""Modality in lower case -> its views, as the collection's schema names them."""
KNOWN_FINDINGS = frozenset(
    (
        *("todo", "unknown", "no finding", "pneumonia", "viral", "bacterial", "fungal", "ards"),
        *("covid-19", "sars", "mers-cov", "varicella", "influenza", "h1n1", "herpes"),
        *("streptococcus", "mycoplasma", "mycoplasma bacterial pneumonia", "klebsiella", "legionella", "nocardia"),
        *("e.coli", "chlamydophila", "staphylococcus", "mrsa"),
        *("pneumocystis", "aspergillosis", "lipoid", "aspiration", "tuberculosis"),
    )
)
"""Components of findings, in lower case, of both vocabularies of the collection."""
MAX_AGE = 120.0
"""Years; no age above 122 has been proven."""
OFFSETS = (-3650.0, 3650.0)
"""Days since onset or admission. No lung disease is followed for ten years in this collection."""
FIRST_X_RAY = pd.Period("1895-11-08", "D")
FIRST_COVID = pd.Period("2019-12-01", "D")
"""No earlier image can show it (C. Huang et al., Lancet 395 (2020) 497: first onset on 1 December 2019)."""

_COVID_MISSPELT = re.compile(r"covid|corona|ncov|sars-?cov", re.IGNORECASE)
_LONGEST_DATE = 40  # characters; pandas takes long over a hundred thousand
_TYPES = {"jpg": "JPEG", "dcm": "DICOM", "gz": "GZIP", "tif": "TIFF"}
_TYPES |= {name.lower(): name for name in ("PNG", "JPEG", "DICOM", "GIF", "BMP", "TIFF")}
"""File extension in lower case -> the type that it promises."""


@dataclass(frozen=True)
class AuditInput:
    """What the checks look at.

    Attributes:
        table: of `read_metadata`, numbered from 0.
        frontal: its labelled frontal X-rays, with their own labels, on its index.
        paths: as of `file_paths`; `present` are those that are there.
    """

    table: pd.DataFrame
    frontal: pd.DataFrame
    unreadable: UnreadableNumbers
    paths: dict[int, Path | None]
    present: dict[int, Path]
    files: FilesRead


@dataclass(frozen=True)
class Found:
    """What a check found: a text per row (a row may occur more than once), and what differs from the usual.

    Attributes:
        count: of what the sentence counts, if it is not the rows.
        more: end of the sentence.
        severity: if it is not that of the check.
        not_checked: why the check could not run.
    """

    what: "pd.Series[str]"
    count: int | None = None
    more: str = ""
    severity: Severity | None = None
    not_checked: str = ""


@dataclass(frozen=True)
class Check:
    """One entry of `CHECKS`. The sentence of its finding is the title, the count and the advice."""

    name: str
    title: str
    severity: Severity
    find: Callable[[AuditInput], Found]
    advice: str = ""
    needs: Literal["table", "folder", "files"] = "table"

    def run(self, data: AuditInput, missing: dict[str, str]) -> Finding:
        """Run the check, unless `missing` says why what it needs is not there."""
        why = missing.get(self.needs, "")
        found = Found(_texts({}), not_checked=why) if why else self.find(data)
        if found.not_checked:
            return not_checked(self.name, self.title, found.not_checked)
        count = len(found.what) if found.count is None else found.count
        sentence = " ".join(filter(None, (f"{self.title}: {count}.", self.advice, found.more)))
        rows = data.table.loc[found.what.index, ["filename", "patientid"]].assign(what=found.what.to_numpy())
        return Finding(self.name, self.title, found.severity or self.severity, count, sentence, rows)


def not_checked(name: str, title: str, why: str) -> Finding:
    """The finding of a check that could not run."""
    nothing = pd.DataFrame(columns=["filename", "patientid", "what"], dtype="str")
    return Finding(name, title, "notice", 0, f"Not checked: {why}", nothing, checked=False)


def parse_date(text: str) -> pd.Period | None:
    """The day, month or year that a date of the table means; None if it cannot be read or has no year.

    A day in numbers has the month first, as in the collection, unless only the day can be first (31/3/2020).
    """
    try:
        period = pd.Period(text) if len(text) <= _LONGEST_DATE else None
    except (ValueError, OverflowError):
        return None
    return period if isinstance(period, pd.Period) and period.year > 1 else None  # pandas sets a missing year to 1


def _texts(what: "dict[int, str] | Sequence[tuple[int, str]]") -> "pd.Series[str]":
    pairs = list(what.items()) if isinstance(what, dict) else list(what)
    return pd.Series([text for _, text in pairs], index=[row for row, _ in pairs], dtype="str")


def _unsafe_names(data: AuditInput) -> Found:
    names = data.table["filename"]
    unsafe = names.isin([names[row] for row, path in data.paths.items() if path is None])
    return Found(_texts(dict.fromkeys(names.index[unsafe], "not a plain name inside the folder")))


def _repeated_names(data: AuditInput) -> Found:
    names = data.table["filename"].dropna()
    return Found(_texts(dict.fromkeys(names.index[names.duplicated()], "named in an earlier row")))


def _missing_files(data: AuditInput) -> Found:
    folder = data.table["folder"]
    absent = {row for row, path in data.paths.items() if path is not None and row not in data.present}
    elsewhere = {row for row in absent if folder[row] not in (None, IMAGES_NAME) and pd.notna(folder[row])}
    what = dict.fromkeys(data.table.index[data.table["filename"].isna()], "no file name is given")
    what |= {row: f"not there (folder {folder[row]})" if row in elsewhere else "not there" for row in absent}
    more = "`fetch` downloads what is available"
    if elsewhere:
        more += f", except the {len(elsewhere)} outside {IMAGES_NAME}/, such as CT volumes"
    if absent and not data.present:
        more = f"Only the table was audited; `--table-only` says that this is intended. {more}"
    return Found(
        _texts(sorted(what.items())), more=f"{more}.", severity="error" if absent and not data.present else None
    )


def _unreadable_files(data: AuditInput) -> Found:
    return Found(_texts({row: one.problem for row, one in data.files.fingerprints.items() if one.problem}))


def _file_types(data: AuditInput) -> Found:
    types = {
        row: (_TYPES.get(path.suffix.lower().lstrip(".")), data.files.types[row]) for row, path in data.present.items()
    }
    wrong = {row: (name, held or "another type") for row, (name, held) in types.items() if name not in (None, held)}
    return Found(_texts({row: f"named {name}, holds {held}" for row, (name, held) in wrong.items()}))


def _same_content(data: AuditInput) -> Found:
    earliest: dict[int, FilePair] = {}
    for pair in data.files.pairs:
        if pair.same_content:
            earliest.setdefault(pair.second, pair)
    return Found(_both_named(data.table, list(earliest.values())), count=len(earliest))


def _almost_the_same(data: AuditInput) -> Found:
    files = data.files
    pairs = [pair for pair in files.pairs if not pair.same_content]
    return Found(_both_named(data.table, pairs), count=len(pairs), not_checked=files.not_compared)


def _both_named(table: pd.DataFrame, pairs: Sequence[FilePair]) -> "pd.Series[str]":
    """Two rows a pair, each naming the other file."""
    return _texts([(row, _like(table, other, pair)) for pair in pairs for row, other in (pair[:2], pair[1::-1])])


def _like(table: pd.DataFrame, other: int, pair: FilePair) -> str:
    return f"{'same content as' if pair.same_content else 'almost the same picture as'} {table['filename'][other]}"


def _across_patients(data: AuditInput) -> Found:
    """Groups of images with several patients. Groups, not pairs: of equal files each is paired with the first alone."""
    files, table = data.files, data.table
    numbers = components(len(table), [pair[:2] for pair in files.pairs])
    places = sorted({row for pair in files.pairs for row in pair[:2]})
    rows = table.loc[places, ["patientid", "label"]].assign(group=numbers[places])
    counts = rows.groupby("group")[["patientid", "label"]].nunique()
    groups = counts[counts["patientid"] > 1]
    if files.not_compared and groups.empty:
        why = f"no content belongs to different patients, but {files.not_compared}"
        return Found(_texts({}), not_checked=why)
    mixed = groups.index[groups["label"] > 1]
    more = f"Groups with both classes, of which one must be wrong: {len(mixed)}." if len(mixed) else ""
    if files.not_compared:
        more = f"{more} Only equal files were looked for: {files.not_compared}"
    partner: dict[int, str] = {}  # of another patient, where there is one
    patient = table["patientid"].tolist()
    for pair in sorted(files.pairs, key=lambda pair: patient[pair.first] == patient[pair.second]):
        partner.setdefault(pair.first, _like(table, pair.second, pair))
        partner.setdefault(pair.second, _like(table, pair.first, pair))
    rows = rows[rows["group"].isin(groups.index)].sort_values("group", kind="stable")
    title = (rows["label"].map(CLASS_TITLES).fillna("no class") + ": ").where(rows["group"].isin(mixed), "")
    what = _texts([(row, words + partner[row]) for row, words in title.items()])  # type: ignore[index, misc]
    return Found(what, count=len(groups), more=more, severity="error" if len(mixed) else None)


def _both_labels(data: AuditInput) -> Found:
    labels = data.frontal.groupby("patientid")["label"].nunique()
    patients = labels.index[labels > 1]
    rows = data.frontal[data.frontal["patientid"].isin(patients)].sort_values("patientid", kind="stable")
    return Found(rows["label"].map(CLASS_TITLES), count=len(patients))


def _no_finding_of_covid_patients(data: AuditInput) -> Found:
    rows = data.frontal[ambiguous_rows(data.frontal, data.table)]
    frontal = rows["patientid"].isin(data.frontal.loc[data.frontal["label"] == COVID, "patientid"])
    where = frontal.map({True: "a frontal X-ray", False: "another image"})
    more = f"With COVID-19 on a frontal X-ray: {int(frontal.sum())}."
    return Found(("No Finding, COVID-19 on " + where).astype("str"), more=more)


def _outside(column: str, low: float, high: float, text: str) -> Callable[[AuditInput], Found]:
    """Finds the values of a column that are not in [low, high]."""

    def find(data: AuditInput) -> Found:
        values = data.table[column]
        return Found(values[(values < low) | (values > high)].map(text.format).astype("str"))

    return find


def _measurements(data: AuditInput) -> Found:
    what = pd.concat([find(data).what for find in _MEASUREMENTS])
    return Found(what, count=what.index.nunique())


_MEASUREMENTS = (
    _outside("temperature", 30, 45, "temperature {:g} °C"),
    _outside("pO2_saturation", 0, 100, "oxygen saturation {:g} %"),
)


def _dates(data: AuditInput) -> Found:
    today = pd.Period(datetime.now(UTC).date(), "D")
    what = {}
    for row, text, label in data.table[["date", "label"]].dropna(subset="date").itertuples():
        period, problem = parse_date(text), ""
        if period is None:
            continue
        if period.asfreq("D", "start") > today:
            problem = "is in the future"
        elif period.asfreq("D", "end") < FIRST_X_RAY:
            problem = "is before the first X-ray"
        elif label == COVID and period.asfreq("D", "end") < FIRST_COVID:
            problem = "is before the first case of COVID-19"
        if problem:
            what[row] = f"{text} {problem}"
    return Found(_texts(what))


def _unclear_dates(data: AuditInput) -> Found:
    dates = data.table["date"].dropna()
    return Found("date: " + dates[[parse_date(text) is None for text in dates]])


def _unreadable_numbers(data: AuditInput) -> Found:
    count, cells = data.unreadable
    more = f"The first {len(cells)} are listed." if len(cells) < count else ""
    return Found(_texts([(cell.row, f"{cell.column}: {cell.text}") for cell in cells]), count=count, more=more)


def _modalities(data: AuditInput) -> Found:
    modality = data.table["modality"]
    return Found(_stated(modality[~modality.str.lower().isin(list(VIEWS)).astype(bool)]))


def _views(data: AuditInput) -> Found:
    every = {view for views in VIEWS.values() for view in views}
    known = data.table["modality"].str.lower().map(lambda modality: VIEWS.get(modality, every))
    views = data.table["view"]
    return Found(_stated(views[[view not in allowed for view, allowed in zip(views, known, strict=True)]]))


def _stated(values: "pd.Series[str]") -> "pd.Series[str]":
    return (f"{values.name}: " + values).fillna(f"no {values.name} is given")


def _findings(data: AuditInput) -> Found:
    what, misspelt = {}, False
    for row, finding, label in data.table[["finding", "label"]].dropna(subset="finding").itertuples():
        unknown = [part for part in finding_components(finding) if part.lower() not in KNOWN_FINDINGS]
        if unknown:
            lost = label != COVID and any(_COVID_MISSPELT.search(part) for part in unknown)
            what[row] = f"finding: {', '.join(unknown)}" + (" (counts as Not COVID-19)" if lost else "")
            misspelt |= lost
    more = "Some look like COVID-19: write COVID-19." if misspelt else ""
    return Found(_texts(what), more=more, severity="error" if misspelt else None)


def _one_class_sources(data: AuditInput) -> Found:
    known = data.frontal[data.frontal["source"].notna()]
    classes = known.groupby("source")["label"].nunique()
    sources = classes.index[classes == 1]
    rows = known[known["source"].isin(sources)].sort_values("source", kind="stable")
    share = len(rows) / max(len(data.frontal), 1)
    more = f"They hold {len(rows)} images ({share:.0%})."
    return Found(rows["source"] + ": " + rows["label"].map(CLASS_TITLES), count=len(sources), more=more)


# fmt: off
CHECKS = (
    Check("escaping_names", "File names that leave the folder", "error", _unsafe_names, "They are never opened. Correct them."),
    Check("repeated_names", "Files named in an earlier row", "warning", _repeated_names, "Only the first row is used."),
    Check("missing_files", "Missing files", "warning", _missing_files, "They are left out.", "folder"),
    Check("unreadable_files", "Unreadable files", "error", _unreadable_files, "Download them again.", "files"),
    Check("file_types", "Files of another type than named", "notice", _file_types, "They are read by content.", "files"),
    Check("exact_duplicates", "Files with the content of an earlier one", "warning", _same_content, "", "files"),
    Check("near_duplicates", "Pairs of almost the same X-ray", "warning", _almost_the_same,
          "They were saved again, cropped or annotated. `prepare` keeps them in one part.", "files"),
    Check("duplicates_across_patients", "Groups of the same image under different patients", "warning", _across_patients,
          "A split by patient alone would divide them; `prepare` does not.", "files"),
    Check("both_labels", "Patients with frontal X-rays of both classes", "warning", _both_labels,
          "Keep all images of a patient in one part."),
    Check("no_finding_of_covid_patients", "Frontal X-rays with No Finding of patients who have COVID-19 elsewhere", "warning",
          _no_finding_of_covid_patients, "The label is that of the image, not of the patient; `prepare` leaves them out."),
    Check("ages", "Impossible ages", "error", _outside("age", 0, MAX_AGE, "age {:g} years"), "Correct the table."),
    Check("offsets", "Impossible days since onset", "error", _outside("offset", *OFFSETS, "offset {:g} days"), "Correct them."),
    Check("dates", "Impossible dates", "error", _dates, "Correct the date or the finding."),
    Check("unclear_dates", "Dates that cannot be read or have no year", "notice", _unclear_dates),
    Check("measurements", "Rows with impossible temperature or oxygen saturation", "warning", _measurements, "Check the unit."),
    Check("unreadable_numbers", "Cells for numbers with other text", "warning", _unreadable_numbers,
          "They count as not given. Write the number alone, or leave the cell blank."),
    Check("modalities", "Modalities other than X-ray and CT", "warning", _modalities, "Only X-rays are used."),
    Check("views", "Unknown views", "warning", _views, "Only PA, AP and AP Supine are used."),
    Check("findings", "Findings with an unknown word", "warning", _findings, "It counts as Not COVID-19."),
    Check("one_class_sources", "Sources with frontal X-rays of one class only", "warning", _one_class_sources,
          "Within them a model can only learn the source."),
)
"""In the order of the audit."""
