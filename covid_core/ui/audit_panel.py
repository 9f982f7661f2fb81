"""The audit of a collection on a page: asked for, followed while it runs, and read finding by finding.

Everything that is found comes from `covid_core.data.audit`; this module knows no check. The audit of a collection that all
visitors see is kept for all of them, that of a visitor's own in his or her session.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Literal

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.data.audit import audit_dataset
from covid_core.data.audit_finding import SEVERITIES, Audit, Finding, Metric, Severity, counted
from covid_core.data.audit_prediction import PREDICTORS
from covid_core.data.audit_text import CHECK_TITLES, audit_json, audit_rows
from covid_core.errors import CovidCoreError
from covid_core.figures.groups import AreaRow, areas
from covid_core.figures.marks import with_interval
from covid_core.model_report.csv_tables import CSV_ENCODING, csv_of
from covid_core.ui.collection import OpenCollection, pictures_of
from covid_core.ui.explorer_state import open_ticked
from covid_core.ui.frame import chart, offer, plain, problem, static_table, table_height

_ALL: Literal["all"] = "all"
_CHOICES: tuple[Severity | Literal["all"], ...] = (_ALL, *SEVERITIES)
_WORDS: dict[Severity, tuple[str, str]] = {
    "error": ("error", ":material/error:"),
    "warning": ("warning", ":material/warning:"),
    "notice": ("notice", ":material/info:"),
}
_MEANINGS: dict[Severity, str] = {
    "error": "A row or a file is wrong. Correct it before the collection is used.",
    "warning": "True, but misleading to whoever takes no notice of it.",
    "notice": "Good to know.",
}
_SEVERITY, _ONLY = "severity", "only_filtered"
_WITHOUT_A_PIXEL = "What tells the class without a look at the film"
_RUNNING = "audit_running"
_MOST_ROWS = 1000  # of a finding on the page; the CSV has them all
_ROWS_SEEN = 8
_SECONDS_BETWEEN_SIGNS = 0.1
_FILES_A_SECOND = 100  # read for the first time, on two cores
_PAIRS_A_SECOND = 50_000  # of pictures compared with each other, on two cores


@dataclass
class _Kept:
    """Holds the audit of one content, once it was made."""

    audit: Audit | None = None


@dataclass(frozen=True)
class _Folder:
    """The images as they are now: what tells this state of the folder from another, and how many files there are."""

    state: str
    files: int


def audit_section(collection: OpenCollection, kept: pd.DataFrame) -> None:
    """Offer the audit of a collection, make it when it is asked for, and show what it found.

    A table without images is audited at once.

    Args:
        collection: that is looked at.
        kept: its rows that meet the filters, on the index of its table.
    """
    folder = _folder(collection.images)
    holder = (_own_audit if collection.own else _shared_audit)(collection.content, folder.state)
    # One after the other: in the place of the offer, its button would stand below the progress while the audit runs.
    offer_place, place = st.empty(), st.empty()
    if holder.audit is None and (collection.images is None or _asked(offer_place, collection, folder)):
        holder.audit = _audited(place, collection)
    if holder.audit is not None:
        place.empty()
        _report(holder.audit, kept, collection)


@st.cache_resource(max_entries=4, show_spinner=False)
def _shared_audit(content: str, state: str) -> _Kept:  # noqa: ARG001  (the key)
    return _Kept()


@st.cache_resource(max_entries=1, show_spinner=False, scope="session")
def _own_audit(content: str, state: str) -> _Kept:  # noqa: ARG001  (the key)
    return _Kept()


def _folder(images: Path | None) -> _Folder:
    if images is None:
        return _Folder("", 0)
    try:
        stats = sorted((entry.name, entry.stat()) for entry in os.scandir(images) if entry.is_file())
    except OSError:  # it goes while it is looked at; the audit tells what is missing
        return _Folder("unreadable", 0)
    text = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    return _Folder(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), len(stats))


def _asked(place: DeltaGenerator, collection: OpenCollection, folder: _Folder) -> bool:
    """Whether the audit is to run now; the button that starts it where it is not."""
    if st.session_state.get(_RUNNING) == collection.content:
        return True
    with place.container():
        st.markdown(
            "Looks for what makes a collection misleading: the same picture twice, patients with both classes, files that are "
            "missing, values that cannot be, and how much of the class can be told without looking at a film."
        )
        st.button(
            "Audit this collection",
            type="primary",
            icon=":material/fact_check:",
            key="audit",
            on_click=_start,
            args=(collection.content,),
        )
        st.caption(
            f"Reads each of {counted(folder.files, 'file')} once: {_about(folder.files)}. What was read is remembered, so "
            "that the next audit is quicker. Nothing is changed."
        )
    return False


def _start(content: str) -> None:
    st.session_state[_RUNNING] = content


def _stop() -> None:
    st.session_state.pop(_RUNNING, None)


def _about(files: int) -> str:
    """How long an audit takes the first time, roughly."""
    seconds = files / _FILES_A_SECOND + files**2 / 2 / _PAIRS_A_SECOND
    if seconds < 60:  # noqa: PLR2004
        return f"about {max(5 * ceil(seconds / 5), 5)} seconds"
    return f"about {counted(ceil(seconds / 60), 'minute')}"


def _audited(place: DeltaGenerator, collection: OpenCollection) -> Audit | None:
    """Run the audit, its progress shown in place; None, with the reason, where it cannot be made.

    The page is run again by whatever the visitor does meanwhile, which ends this run at its next sign of life. Unless that was
    the button to stop, the next run takes the audit up again, with what was read so far.
    """
    with place.container():
        signs = _Signs()
        if collection.images is not None:
            st.button("Stop", icon=":material/stop_circle:", key="stop_audit", on_click=_stop)
    try:
        audit = audit_dataset(
            collection.folder,
            table_only=collection.images is None,
            table=collection.table,
            fingerprints=pictures_of(collection).fingerprints,
            progress=signs.progress,
            say=signs.say,
        )
    except Exception as error:
        _stop()  # else the next run would begin it again, and end in the same way
        if not isinstance(error, CovidCoreError):
            raise
        place.empty()
        problem(error)
        return None
    _stop()
    return audit


class _Signs:
    """Shows how far an audit is, not more often than anyone could read."""

    def __init__(self) -> None:
        self._words, self._sent = "Beginning", 0.0
        self._bar = st.progress(0.0, self._words)

    def say(self, words: str) -> None:
        self._words = words
        self._bar.progress(0.0, words)

    def progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._sent >= _SECONDS_BETWEEN_SIGNS:
            self._sent = now
            self._bar.progress(done / total, f"{self._words}: {done} of {total}")


def _report(audit: Audit, kept: pd.DataFrame, collection: OpenCollection) -> None:
    grave = {
        severity: [one for one in audit.findings if one.count and one.severity == severity] for severity in SEVERITIES
    }
    counts = ", ".join(f"**{counted(len(found), _WORDS[severity][0])}**" for severity, found in grave.items())
    st.markdown(f"{counts} in {counted(audit.images, 'image')} of {counted(audit.patients, 'patient')}.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked: Severity | Literal["all"] = st.segmented_control(
            "Severity",
            _CHOICES,
            default=_ALL,
            required=True,
            format_func=lambda one: one.capitalize() if one == _ALL else f"{one.capitalize()}s",
            key=_SEVERITY,
            bind="query-params",
        )
        narrowed = len(kept) < audit.images
        only = narrowed and st.toggle("Only rows that meet the filters", key=_ONLY, bind="query-params")
    chosen = [severity for severity in SEVERITIES if asked in (_ALL, severity)]
    for severity in chosen:
        _group(severity, grave[severity], kept if narrowed else None, only=only)
    at_chance = [one for one in audit.findings if one.roc_auc is not None and not one.count and asked == _ALL]
    _without_a_pixel([*(one for severity in chosen for one in grave[severity] if one.check in PREDICTORS), *at_chance])
    _quiet(audit)
    _take_away(audit, "error" if asked == _ALL else asked, collection)


def _group(severity: Severity, findings: Sequence[Finding], kept: pd.DataFrame | None, *, only: bool) -> None:
    """The findings of one severity; `kept` None where no filter is set."""
    word, icon = _WORDS[severity]
    st.subheader(f"{icon} {word.capitalize()}s ({len(findings)})", anchor=False)
    if not findings:
        st.caption(f"There is no {word}.")
        return
    with_rows = [one for one in findings if one.check not in PREDICTORS]
    below = len(findings) - len(with_rows)
    more = f" {below} of them under “{_WITHOUT_A_PIXEL}”, further down." if below else ""
    st.caption(_MEANINGS[severity] + more)
    for finding in with_rows:
        met = None if kept is None else finding.rows.index.isin(kept.index)
        _finding(finding, None if met is None else finding.rows[met], only=only)


def _finding(finding: Finding, met: pd.DataFrame | None, *, only: bool) -> None:
    """One finding; `met` holds its rows that meet the filters, None where no filter is set."""
    rows = finding.rows if met is None or not only else met
    label = f"{counted(len(finding.rows), 'row')}"
    if met is not None:
        label += f", {len(met)} of them meet the filters" if len(met) != 1 else ", 1 of them meets the filters"
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{CHECK_TITLES[finding.check]}: {finding.count}**")
        st.markdown(_said(finding))
        if rows.empty:
            st.caption(label)
            return
        opened = st.expander(label, key=f"rows of {finding.check}", type="compact", on_change="rerun")
        if opened.open:
            with opened:
                _rows(finding.check, rows)


def _said(finding: Finding) -> str:
    """Its sentence for Markdown; the names of commands, marked as on a terminal, without their marks."""
    return plain(finding.sentence.replace("`", ""))


def _rows(check: str, rows: pd.DataFrame) -> None:
    """The rows of a finding; one that is selected opens its film."""
    shown = rows.head(_MOST_ROWS)
    key = f"audit rows {check}"
    column = st.column_config.TextColumn
    st.dataframe(
        shown,
        hide_index=True,
        height=table_height(len(shown), _ROWS_SEEN),
        placeholder="",
        column_config={
            "filename": column("File", width="medium"),
            "patientid": column("Patient", width="small"),
            "what": column("What", width="large"),
        },
        key=key,
        on_select=partial(open_ticked, key, shown["filename"].tolist()),
        selection_mode="single-row",
        alt=f"The rows of the finding: {CHECK_TITLES[check]}",
    )
    more = f" The first {_MOST_ROWS} of {len(rows)} rows; the CSV below has them all." if len(rows) > _MOST_ROWS else ""
    st.caption(f"Select a row to open its film.{more}")


def _without_a_pixel(findings: Sequence[Finding]) -> None:
    """What predicts the class without a film being looked at: the figures, and what they mean."""
    told = [(one, one.roc_auc) for one in findings if one.roc_auc is not None]
    if not told:
        return
    st.subheader(_WITHOUT_A_PIXEL, anchor=False)
    st.markdown(
        "A model that does no better than these may have learned where a film comes from, not what it shows: judge it by films "
        "of one source, where it must beat what is told within a source here."
    )
    rows = [AreaRow(CHECK_TITLES[one.check], area, one.within_source_auc, is_model=False) for one, area in told]
    chart(areas(rows), alt="ROC AUC of what is known without the film, beside chance; the table says the same")
    table = [
        {
            "Known of a film": CHECK_TITLES[one.check],
            "ROC AUC over all films (95% interval)": _in_words(area),
            "Within a source (95% interval)": _in_words(one.within_source_auc),
            "Severity": one.severity.capitalize() if one.count else "None",
        }
        for one, area in told
    ]
    static_table(pd.DataFrame(table))
    st.caption(
        f"Each of {counted(told[0][1]['n'], 'labelled frontal film')} is told by a rule that saw no film of its patient. "
        "0.5 is chance, 1 is never wrong. Within a source, the source itself tells nothing."
    )


def _in_words(metric: Metric | None) -> str:
    return "not measured" if metric is None else with_interval(metric)


def _quiet(audit: Audit) -> None:
    """The checks that found nothing, and those that could not run."""
    quiet = [one for one in audit.findings if one.checked and not one.count]
    fine = [CHECK_TITLES[one.check] for one in quiet if one.roc_auc is None]
    if fine:
        st.markdown(f":material/check_circle: **In order, nothing found:** {'; '.join(fine)}.")
    reasons: dict[str, list[str]] = {}
    for one in audit.findings:
        if not one.checked:
            reasons.setdefault(_said(one), []).append(CHECK_TITLES[one.check])
    for sentence, titles in reasons.items():
        st.markdown(f":material/block: **{'; '.join(titles)}.** {sentence}")


def _take_away(audit: Audit, fail_on: Severity, collection: OpenCollection) -> None:
    """The downloads, and the command that does the same."""
    st.subheader("Take away", anchor=False)
    with st.container(horizontal=True):
        offer("All rows as CSV", lambda: _csv(audit), "audit.csv", "text/csv")
        offer("Everything as JSON", lambda: audit_json(audit).encode("ascii"), "audit.json", "application/json")
    failed = bool(audit.at_least(fail_on))
    of_folder = " --collection FOLDER" if collection.own else ""
    table_only = " --table-only" if collection.images is None else ""
    st.markdown(
        f"The same in a terminal. It ends with exit code 1 where there is a finding of severity `{fail_on}` or graver, so that a "
        f"pipeline can stop; for this collection with {int(failed)}."
    )
    st.code(f"python -m covid_core audit{of_folder}{table_only} --fail-on {fail_on}", language="bash", wrap_lines=True)
    if of_folder:
        films = (
            ". Without `--table-only` the films in its `images/` are checked, too." if table_only else " and `images/`."
        )
        st.caption(f"FOLDER holds `metadata.csv`{films}")


def _csv(audit: Audit) -> bytes:
    return csv_of(audit_rows(audit)).encode(CSV_ENCODING, errors="backslashreplace")
