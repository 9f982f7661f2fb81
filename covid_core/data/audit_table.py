"""The checks of an audit that the table alone answers: labels against each other, values that cannot be, unknown words.

Opens no file. `read_metadata` has already turned numbers that are none into blanks, and tells which they were.
"""

import calendar
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from covid_core.data.audit_finding import Finding, counted, given, rows_of
from covid_core.data.cohort import ambiguous_rows
from covid_core.data.metadata import UnreadableNumbers
from covid_core.labels import CLASS_TITLES, COVID, finding_components

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
MAX_OFFSET = 3650.0
"""Days since onset or admission, either way. No illness of the lungs is followed for ten years in this collection."""
TEMPERATURES = (30.0, 45.0)
"""Body temperature, degrees Celsius, that a patient with a chest film can have."""
FIRST_X_RAY = date(1895, 11, 8)
FIRST_COVID = date(2019, 12, 1)
"""No earlier film can show it (C. Huang et al., Lancet 395 (2020) 497: first onset on 1 December 2019)."""

Span = tuple[date, date]
"""The first and the last day of a day, a month or a year."""

_COVID_MISSPELT = re.compile(r"covid|corona|ncov|sars-?cov", re.IGNORECASE)
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name[:3]: number for name, number in _MONTHS.items()} | {"sept": 9}
_LAST_OF_THIS_CENTURY = 29
"""Years of two digits are read as spreadsheets read them, which write most of these tables: 00 to 29 as 2000 to 2029, 30 to 99
as 1930 to 1999 (the default of Excel and of LibreOffice)."""
_TIME = r"(?:[T,\s]\s*(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:\s*[AP]M)?(?:\s*(?:Z|UTC|[+-]\d\d:?\d\d))?)?"
_NAME, _DAY, _YEAR = r"(?P<name>[A-Z]+)\.?", r"(?P<day>\d{1,2})(?:ST|ND|RD|TH|\.)?", r"(?P<year>\d{4}|\d\d)"
_DAY_SHAPES = tuple(
    re.compile(shape + _TIME, re.IGNORECASE)
    for shape in (
        rf"{_NAME}\s*{_DAY}(?:\s*,\s*|\s+){_YEAR}",  # March 3rd, 2020
        rf"{_DAY}[\s-]*(?:of\s+)?{_NAME}[\s,-]+{_YEAR}",  # 3 March 2020, 3-Mar-20
        r"(?P<year>\d{4})(?P<gap>[-/.])(?P<month>\d{1,2})(?P=gap)(?P<day>\d{1,2})",  # 2020-03-04
        rf"(?P<first>\d{{1,2}})(?P<gap>[-/.])(?P<second>\d{{1,2}})(?P=gap){_YEAR}",  # 3/4/2020
    )
)
_MONTH_SHAPES = tuple(
    re.compile(shape, re.IGNORECASE)
    for shape in (
        rf"{_NAME},?\s+(?P<year>\d{{4}})",
        r"(?P<year>\d{4})-(?P<month>\d\d?)",
        r"(?P<month>\d\d?)/(?P<year>\d{4})",
    )
)


def table_findings(table: pd.DataFrame, films: pd.DataFrame, unreadable: UnreadableNumbers) -> Iterator[Finding]:
    """Run the checks of the table.

    Args:
        table: as `read_metadata` gives it, numbered from 0.
        films: its rows that are labelled frontal X-rays, with their own labels, on its index.
        unreadable: the numbers of the table that could not be read.
    """
    yield _both_labels(films)
    yield _no_finding_of_covid_patients(films, table)
    yield _impossible(table, "ages", "age", _age_problem)
    yield _impossible(table, "offsets", "offset", _offset_problem)
    yield _dates(table)
    yield _unclear_dates(table)
    yield _measurements(table)
    yield _unreadable_numbers(table, unreadable)
    yield _unknown_modalities(table)
    yield _unknown_views(table)
    yield _unknown_findings(table)
    yield _one_class_sources(films)


def dated(text: str) -> Span | None:
    """The first and last day that a date of the table means; None if it is no date with a year.

    Args:
        text: a day, a month or a year, in the ways the collection and spreadsheets write them. A day in numbers has the month
            first, as in the collection, unless only the day can be first (31/3/2020) or dots part them (4.3.2020).
    """
    readings = date_readings(text)
    return readings[0] if readings else None


def date_readings(text: str) -> tuple[Span, ...] | None:
    """Everything that a date may mean, the likeliest first: 4/3/2020 may be in April or in March.

    Args:
        text: as of `dated`.

    Returns:
        One or two spans; none for a day that is in no calendar (31/04/2020); None for a text that is no date with a year.
    """
    if re.fullmatch(r"\d{4}", text):
        year = int(text)
        return ((date(year, 1, 1), date(year, 12, 31)),) if year else None
    for shape in _DAY_SHAPES:
        found = shape.fullmatch(text)
        if found and (days := _days(found.groupdict())) is not None:
            return tuple((day, day) for day in days)
    for shape in _MONTH_SHAPES:
        found = shape.fullmatch(text)
        if found and (month := _month(found.groupdict())) is not None:
            return (month,)
    return None


def _days(parts: Mapping[str, Any]) -> list[date] | None:
    """The days that the parts of a date may mean, none for one that is in no calendar; None if its word is no month."""
    if "first" in parts:
        first, second = int(parts["first"]), int(parts["second"])
        orders = [(first, second), (second, first)]
        if parts["gap"] == ".":  # only those who put the day first write dots
            orders.reverse()
    else:
        month = _month_number(parts)
        if month is None:
            return None
        orders = [(month, int(parts["day"]))]
    days = []
    for month, day in orders:
        try:
            days.append(date(_year(parts["year"]), month, day))
        except ValueError:
            continue
    return days


def _month(parts: Mapping[str, Any]) -> Span | None:
    """A month from its first day to its last; None where there is no such month: 2019-20 may be two years."""
    month, year = _month_number(parts), int(parts["year"])
    if month is None or not 1 <= month <= 12 or not year:  # noqa: PLR2004  months
        return None
    return date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])


def _month_number(parts: Mapping[str, Any]) -> int | None:
    """The month of a date by its number or its name; None for a word that is no month."""
    return _MONTHS.get(parts["name"].lower()) if "name" in parts else int(parts["month"])


def _year(text: str) -> int:
    year = int(text)
    if len(text) > 2:  # noqa: PLR2004  digits
        return year
    return year + (2000 if year <= _LAST_OF_THIS_CENTURY else 1900)


def _both_labels(films: pd.DataFrame) -> Finding:
    labels = films.groupby("patientid")["label"].nunique()
    patients = set(labels.index[labels > 1])
    rows = films[films["patientid"].isin(patients)].sort_values("patientid", kind="stable")
    return Finding(
        "both_labels",
        "warning",
        len(patients),
        f"{counted(len(patients), 'patient has', 'patients have')} frontal films of both classes. Keep all films of a patient "
        "in one part.",
        rows_of(rows, zip(rows.index, rows["label"].map(CLASS_TITLES), strict=True)),
    )


def _no_finding_of_covid_patients(films: pd.DataFrame, table: pd.DataFrame) -> Finding:
    rows = films[ambiguous_rows(films, table)]
    on_film = rows["patientid"].isin(films.loc[films["label"] == COVID, "patientid"])
    where = on_film.map({True: "a frontal film", False: "another image"})
    return Finding(
        "no_finding_of_covid_patients",
        "warning",
        len(rows),
        f"{counted(len(rows), 'frontal No Finding film is', 'frontal No Finding films are')} of a patient who has COVID-19 "
        f"elsewhere in the table, {int(on_film.sum())} of them on a frontal film. The label speaks of the film, not of the "
        "patient; `prepare` leaves them out.",
        rows_of(rows, given(rows.assign(what="No Finding, COVID-19 on " + where), "what")),
    )


def _age_problem(age: float) -> str:
    return "" if 0 <= age <= MAX_AGE else f"age {age:g} years"


def _offset_problem(offset: float) -> str:
    return "" if abs(offset) <= MAX_OFFSET else f"offset {offset:g} days"


def _impossible(table: pd.DataFrame, check: str, column: str, problem: Callable[[float], str]) -> Finding:
    strange = [(place, text) for place, value in given(table, column) if (text := problem(value))]
    return Finding(
        check,
        "error",
        len(strange),
        f"{counted(len(strange), 'row has', 'rows have')} an impossible {column}. Correct the table.",
        rows_of(table, strange),
    )


def _dates(table: pd.DataFrame) -> Finding:
    today = datetime.now(UTC).date()
    label = table["label"]
    strange = []
    for place, text in given(table, "date"):
        readings = date_readings(text)
        problem = "" if readings is None else _date_problem(readings, today, covid=label[place] == COVID)
        if problem:
            strange.append((place, f"{text} {problem}"))
    return Finding(
        "dates",
        "error",
        len(strange),
        f"{counted(len(strange), 'row has an impossible date', 'rows have an impossible date')}. Correct the date, or the "
        "finding.",
        rows_of(table, strange),
    )


def _date_problem(readings: Sequence[Span], today: date, *, covid: bool) -> str:
    """Why a date cannot be, whichever of its readings is meant; '' where one of them can."""
    if not readings:
        return "is in no calendar"
    if all(first > today for first, _ in readings):
        return "is yet to come"
    if all(last < FIRST_X_RAY for _, last in readings):
        return "is before the first X-ray"
    if covid and all(last < FIRST_COVID for _, last in readings):
        return "is before the first case of COVID-19"
    return ""


def _unclear_dates(table: pd.DataFrame) -> Finding:
    unclear = [(place, f"date: {text}") for place, text in given(table, "date") if date_readings(text) is None]
    return Finding(
        "unclear_dates",
        "notice",
        len(unclear),
        f"{counted(len(unclear), 'row has a date', 'rows have a date')} that cannot be read, or one without a year.",
        rows_of(table, unclear),
    )


def _measurements(table: pd.DataFrame) -> Finding:
    low, high = TEMPERATURES
    strange = []
    for place, value in given(table, "temperature"):
        if not low <= value <= high:
            strange.append((place, f"temperature {value:g} °C"))
    for place, value in given(table, "pO2_saturation"):
        if not 0 <= value <= 100:  # noqa: PLR2004  per cent
            strange.append((place, f"oxygen saturation {value:g} %"))
    rows = len({place for place, _ in strange})
    return Finding(
        "measurements",
        "warning",
        rows,
        f"{counted(rows, 'row has', 'rows have')} an impossible temperature or oxygen saturation; the unit may be another.",
        rows_of(table, strange),
    )


def _unreadable_numbers(table: pd.DataFrame, unreadable: UnreadableNumbers) -> Finding:
    count, listed = unreadable.count, len(unreadable.cells)
    more = f" The first {listed} are listed." if listed < count else ""
    return Finding(
        "unreadable_numbers",
        "warning",
        count,
        f"{counted(count, 'cell for a number holds', 'cells for numbers hold')} something else, and "
        f"{'counts' if count == 1 else 'count'} as not given. Write the number alone, or leave the cell blank.{more}",
        rows_of(table, ((cell.row, f"{cell.column}: {cell.text}") for cell in unreadable.cells)),
    )


def _unknown_modalities(table: pd.DataFrame) -> Finding:
    modality = table["modality"]
    unknown = modality[~modality.str.lower().isin(list(VIEWS)).astype(bool)]
    strange = [(place, _stated("modality", value)) for place, value in zip(unknown.index, unknown, strict=True)]
    return Finding(
        "modalities",
        "warning",
        len(strange),
        f"{counted(len(strange), 'row is', 'rows are')} of a modality other than X-ray and CT. Only X-rays are used.",
        rows_of(table, strange),
    )


def _unknown_views(table: pd.DataFrame) -> Finding:
    every = tuple(view for views in VIEWS.values() for view in views)
    strange = []
    for place, view, modality in zip(table.index, table["view"], table["modality"], strict=True):
        known = VIEWS.get(modality.lower(), every) if isinstance(modality, str) else every
        if view not in known:
            strange.append((place, _stated("view", view)))
    return Finding(
        "views",
        "warning",
        len(strange),
        f"{counted(len(strange), 'row has', 'rows have')} a view that the collection does not name for the modality. Only PA, "
        "AP and AP Supine are used.",
        rows_of(table, strange),
    )


def _unknown_findings(table: pd.DataFrame) -> Finding:
    strange, misspelt, label = [], False, table["label"]
    for place, finding in given(table, "finding"):
        unknown = [part for part in finding_components(finding) if part.lower() not in KNOWN_FINDINGS]
        if unknown:
            lost = label[place] != COVID and any(_COVID_MISSPELT.search(part) for part in unknown)
            misspelt = misspelt or lost
            strange.append((place, f"finding: {', '.join(unknown)}" + (" (counts as Not COVID-19)" if lost else "")))
    more = " Some look like COVID-19 but count as Not COVID-19: write COVID-19." if misspelt else ""
    return Finding(
        "findings",
        "error" if misspelt else "warning",
        len(strange),
        f"{counted(len(strange), 'row has', 'rows have')} a finding with a word that is in neither vocabulary of the "
        f"collection; every such word counts as Not COVID-19.{more}",
        rows_of(table, strange),
    )


def _one_class_sources(films: pd.DataFrame) -> Finding:
    known = films[films["source"].notna()]
    classes = known.groupby("source")["label"].nunique()
    sources = set(classes.index[classes == 1])
    rows = known[known["source"].isin(sources)].sort_values("source", kind="stable")
    share = len(rows) / len(films) if len(films) else 0.0
    what = rows["source"] + ": " + rows["label"].map(CLASS_TITLES)
    return Finding(
        "one_class_sources",
        "warning",
        len(sources),
        f"{counted(len(sources), 'source has', 'sources have')} frontal films of one class only, {len(rows)} films "
        f"({share:.0%}). Within them a model can only learn the source.",
        rows_of(rows, given(rows.assign(what=what), "what")),
    )


def _stated(column: str, value: object) -> str:
    return f"{column}: {value}" if isinstance(value, str) else f"no {column} is given"
