"""The audit of a collection on a page: its start, its progress, and its findings by severity.

The audit of an installed collection is kept for all visitors, that of a visitor's own for this session.
"""

from collections.abc import Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import Literal

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.audit.finding import SEVERITIES, Audit, Finding, Severity
from covid_core.audit.render import audit_json, audit_rows
from covid_core.audit.run import audit_dataset
from covid_core.errors import CovidCoreError
from covid_core.figures.groups import AreaRow, areas
from covid_core.figures.marks import with_interval
from covid_core.text import counted
from covid_core.ui.dataset import OpenCollection, open_ticked, pictures_of, store_of
from covid_core.ui.page import (
    chart,
    csv_bytes,
    offer,
    plain,
    problem,
    progress_bar,
    set_state,
    static_table,
    table_height,
)

_ALL: Literal["all"] = "all"
_CHOICES: tuple[Severity | Literal["all"], ...] = (_ALL, *SEVERITIES)
_ICONS = {"error": ":material/error:", "warning": ":material/warning:", "notice": ":material/info:"}
_RUNNING = "audit_running"
_MOST_ROWS = 1000  # of a finding on the page; the CSV has them all
_ROWS_SEEN = 8
_FILES_A_MINUTE, _PAIRS_A_MINUTE = 6_000, 3_000_000  # read for the first time and compared, on two cores


def audit_section(collection: OpenCollection, kept: pd.DataFrame) -> None:
    """Offer the audit of a collection, run it on demand, and show its findings. A table without images is audited at once.

    `kept` are the rows that meet the filters, on the index of its table.
    """
    state, store = _folder_state(collection.images), store_of(collection)
    # Two places: in the place of the offer, its button would stay below the progress while the audit runs.
    offer_place, place = st.empty(), st.empty()
    audit: Audit | None = store.get("audit", {}).get(state)
    if audit is None and (collection.images is None or _is_started(offer_place, collection)):
        audit = _audited(place, collection)
        if audit is not None:
            store["audit"] = {state: audit}
    if audit is not None:
        place.empty()
        _report(audit, kept, collection)


def _folder_state(images: Path | None) -> str:
    """Names, sizes and modification times of the files; tells one state of the folder from another."""
    try:
        files = sorted((path.name, path.stat()) for path in images.iterdir()) if images is not None else []
    except OSError:  # the folder changes meanwhile; the audit reports what is missing
        return "unreadable"
    return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in files])


def _is_started(place: DeltaGenerator, collection: OpenCollection) -> bool:
    """Whether the audit is to run now; shows the button that starts it where it is not."""
    if st.session_state.get(_RUNNING) == collection.content:
        return True
    files = collection.table["filename"].nunique()
    minutes = ceil(files / _FILES_A_MINUTE + files**2 / 2 / _PAIRS_A_MINUTE)
    with place.container():
        st.markdown(
            "Looks for what makes a collection misleading: the same image twice, patients with both classes, missing files, "
            "impossible values, and how well the class can be predicted without an image."
        )
        st.button(
            "Audit this collection",
            type="primary",
            icon=":material/fact_check:",
            key="audit",
            on_click=set_state,
            args=(_RUNNING, collection.content),
        )
        st.caption(
            f"Reads {counted(files, 'file')} once, in about {counted(minutes, 'minute')}; the next audit is quicker. Nothing "
            "is changed."
        )
    return False


def _audited(place: DeltaGenerator, collection: OpenCollection) -> Audit | None:
    """Run the audit and show its progress; None, with the reason, where it fails.

    Any rerun of the page ends this run at its next step; unless that was the Stop button, the next run starts it again.
    """
    with place.container():
        bar = st.progress(0.0, "Reading the table")
        if collection.images is not None:
            st.button(
                "Stop", icon=":material/stop_circle:", key="stop_audit", on_click=set_state, args=(_RUNNING, None)
            )
    try:
        audit = audit_dataset(
            collection.folder,
            table_only=collection.images is None,
            table=collection.table,
            fingerprints=pictures_of(collection).fingerprints,
            progress=progress_bar(bar, "Reading files"),
            comparing=progress_bar(bar, "Comparing images"),
        )
    except Exception as error:
        set_state(_RUNNING, None)  # else the next run would start it again, and fail in the same way
        if not isinstance(error, CovidCoreError):
            raise
        place.empty()
        problem(error)
        return None
    set_state(_RUNNING, None)
    return audit


def _report(audit: Audit, kept: pd.DataFrame, collection: OpenCollection) -> None:
    found = {
        severity: [one for one in audit.findings if one.count and one.severity == severity] for severity in SEVERITIES
    }
    counts = ", ".join(f"**{counted(len(ones), severity)}**" for severity, ones in found.items())
    st.markdown(f"{counts} in {counted(audit.images, 'image')} of {counted(audit.patients, 'patient')}.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen: Severity | Literal["all"] = st.segmented_control(
            "Severity",
            _CHOICES,
            default=_ALL,
            required=True,
            format_func=lambda one: one.capitalize() if one == _ALL else f"{one.capitalize()}s",
            key="severity",
            bind="query-params",
        )
        narrowed = len(kept) < audit.images
        only = narrowed and st.toggle("Only rows that meet the filters", key="only_filtered", bind="query-params")
    shown = [severity for severity in SEVERITIES if chosen in (_ALL, severity)]
    for severity in shown:
        st.subheader(f"{_ICONS[severity]} {severity.capitalize()}s ({len(found[severity])})", anchor=False)
        for finding in found[severity]:
            _finding(finding, kept if narrowed else None, only=only)
    measured = [one for one in audit.findings if one.roc_auc is not None]
    _predictions([one for one in measured if (one.severity in shown if one.count else chosen == _ALL)])
    _nothing_found(audit)
    _downloads(audit, "error" if chosen == _ALL else chosen, collection)


def _finding(finding: Finding, kept: pd.DataFrame | None, *, only: bool) -> None:
    """One finding and its rows; `kept` is None where no filter is set."""
    rows, label = finding.rows, counted(len(finding.rows), "row")
    if kept is not None:
        met = rows[rows.index.isin(kept.index)]
        label += f", {len(met)} of which meet the filters"
        rows = met if only else rows
    with st.container(border=True, gap="xsmall"):
        st.markdown(_sentence(finding))
        if rows.empty:
            if finding.roc_auc is None:
                st.caption(label)
            return
        opened = st.expander(label, key=f"rows of {finding.check}", type="compact", on_change="rerun")
        if opened.open:
            with opened:
                _rows(finding, rows)


def _sentence(finding: Finding) -> str:
    """Its sentence in Markdown, without the backticks that mark commands on a terminal."""
    title = f"{finding.title}: {finding.count}."
    rest = plain(finding.sentence.removeprefix(title).replace("`", ""))
    return f"**{plain(title)}** {rest}" if finding.sentence.startswith(title) else rest


def _rows(finding: Finding, rows: pd.DataFrame) -> None:
    """The rows of a finding; selecting one opens its image."""
    shown = rows.head(_MOST_ROWS)
    key, column = f"audit rows {finding.check}", st.column_config.TextColumn
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
        alt=f"Rows of the finding: {finding.title}",
    )
    more = f" The first {_MOST_ROWS} of {len(rows)} rows; the CSV below has them all." if len(rows) > _MOST_ROWS else ""
    st.caption(f"Select a row to open its image.{more}")


def _predictions(findings: Sequence[Finding]) -> None:
    """What predicts the class without an image."""
    measured = [(one, one.roc_auc, one.within_source_auc) for one in findings if one.roc_auc is not None]
    if not measured:
        return
    st.subheader("Class predicted without an image", anchor=False)
    st.markdown(
        "A model that is no better than these may have learned where an image comes from, not what it shows. Compare it among "
        "images of one source."
    )
    rows = [AreaRow(one.title, area, within, is_model=False) for one, area, within in measured]
    chart(areas(rows), alt="ROC AUC of what is known without the image, beside chance; the table says the same")
    table = [
        {
            "Known of an image": one.title,
            "ROC AUC over all images (95% interval)": with_interval(area),
            "Within a source (95% interval)": "not measured" if within is None else with_interval(within),
            "Severity": one.severity.capitalize() if one.count else "None",
        }
        for one, area, within in measured
    ]
    static_table(pd.DataFrame(table))
    st.caption(
        f"Of {counted(measured[0][1]['n'], 'labelled frontal X-ray')}, each predicted by a rule that saw no image of its "
        "patient. 0.5 is chance, 1 is never wrong."
    )


def _nothing_found(audit: Audit) -> None:
    """The checks that found nothing, and those that could not run."""
    passed = [one.title for one in audit.findings if one.checked and not one.count and one.roc_auc is None]
    if passed:
        st.markdown(f":material/check_circle: **No problems found:** {'; '.join(passed)}.")
    reasons: dict[str, list[str]] = {}
    for one in audit.findings:
        if not one.checked:
            reasons.setdefault(_sentence(one), []).append(one.title)
    for sentence, titles in reasons.items():
        st.markdown(f":material/block: **{'; '.join(titles)}.** {sentence}")


def _downloads(audit: Audit, fail_on: Severity, collection: OpenCollection) -> None:
    """The downloads, and the command that does the same."""
    st.subheader("Download", anchor=False)
    with st.container(horizontal=True):
        offer("All rows as CSV", lambda: csv_bytes(audit_rows(audit)), "audit.csv", "text/csv")
        offer("Everything as JSON", lambda: audit_json(audit).encode("ascii"), "audit.json", "application/json")
    folder = " --collection FOLDER" if collection.own else ""
    table_only = " --table-only" if collection.images is None else ""
    st.markdown(
        f"The same in a terminal, with exit code 1 for a finding of severity `{fail_on}` or higher. For this collection it is "
        f"{int(bool(audit.at_least(fail_on)))}."
    )
    st.code(f"python -m covid_core audit{folder}{table_only} --fail-on {fail_on}", language="bash", wrap_lines=True)
    if folder:
        images = (
            ". Without `--table-only` the images in `images/` are checked too." if table_only else " and `images/`."
        )
        st.caption(f"FOLDER holds `metadata.csv`{images}")
