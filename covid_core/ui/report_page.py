"""The model report on a page: its head, its chapters with what a reader may set in them, and what can be taken away."""

from collections.abc import Callable, Mapping
from itertools import groupby

import streamlit as st

from covid_core.errors import CovidCoreError, DatasetError, EvaluationError
from covid_core.evaluation import post_test_words
from covid_core.evaluation.summary import verdict
from covid_core.inference.bundle import Bundle
from covid_core.paths import dataset_dir, models_dir
from covid_core.report.build import (
    CHAPTERS,
    ReportOptions,
    build_report,
    chapter,
    default_options,
    default_prevalence,
    subtitle,
)
from covid_core.report.csv_tables import csv_of, tables_zip
from covid_core.report.document import Chapter, Chart, Command, Item, Report, Table, Words
from covid_core.report.html import report_html
from covid_core.report.record import Record, read_others
from covid_core.ui.models import cached_record, key_figures, open_bundle
from covid_core.ui.page import PAIRED_FROM, chart, offer, plain, problem, set_state, static_table
from covid_core.ui.wrong_calls import gallery_of_errors

_CHAPTER, _THRESHOLD, _PREVALENCE = "chapter", "threshold", "prevalence"
_PICTURES = "pictures"
_MODEL = "model_of_report"
_STEP = 0.005


def record_of(bundle: Bundle) -> Record | None:
    """What a bundle says of its past; None, with the reason shown in place, where it cannot be read."""
    try:
        return cached_record(bundle, dataset_dir())
    except DatasetError as error:  # the images cannot be described; their figures can be read all the same
        problem(error)
    except CovidCoreError as error:
        problem(error)
        return None
    return cached_record(bundle)


def report_head(record: Record) -> None:
    """Show the verdict, the headline figures, and what limits the whole report."""
    if st.session_state.setdefault(_MODEL, record.name) != record.name:
        st.session_state[_MODEL] = record.name
        # What was set for another model means something else for this one.
        own = {_THRESHOLD: float(record.evaluation["threshold"]), _PREVALENCE: default_prevalence(record.evaluation)}
        for key in own.keys() & st.session_state.keys():
            st.session_state[key] = own[key]
    st.markdown(f"**{plain(record.name)}.** {plain(verdict(record.evaluation))}")
    key_figures(record.evaluation)
    if record.evaluation.get("note"):
        st.warning(plain(str(record.evaluation["note"])), icon=":material/warning:")
    st.caption(plain(subtitle(record)))


def choose_chapter() -> str:
    """Let the reader choose a chapter; the address keeps it."""
    chosen = st.pills(
        "Chapter",
        list(CHAPTERS),
        default=next(iter(CHAPTERS)),
        required=True,
        format_func=CHAPTERS.__getitem__,
        key=_CHAPTER,
        bind="query-params",
        label_visibility="collapsed",
    )
    return chosen or next(iter(CHAPTERS))  # an address may name a chapter without a name


def report_chapter(name: str, record: Record, bundle: Bundle) -> None:
    """Show a chapter with what can be set in it, and what can be taken away.

    A chapter that can be set runs again by itself, together with what is taken away as it is set.
    """
    if name in _SETTABLE:
        _settable_chapter(name, record, bundle)
        return
    try:
        if name == "discrimination":
            others, unread = read_others(bundle.folder.name, lambda one: cached_record(open_bundle(models_dir() / one)))
            _show_chapter(chapter(name, default_options(record, others)))
            if unread:
                st.caption(plain(f"Not compared, as it cannot be read: {', '.join(unread)}. Choose it to see why."))
        else:
            _show_chapter(chapter(name, default_options(record)))
    except EvaluationError as error:
        problem(error)
    if name == "failures":
        gallery_of_errors(record, bundle)
    _take_away(name, record, bundle)


@st.fragment
def _settable_chapter(name: str, record: Record, bundle: Bundle) -> None:
    for setting in _SETTABLE[name]:
        _SLIDERS[setting](record)
    try:
        options = ReportOptions(record, (), _chosen_threshold(record), _chosen_prevalence(record))
        _show_chapter(chapter(name, options))
    except EvaluationError as error:
        problem(error)
    _take_away(name, record, bundle)


def _take_away(name: str, record: Record, bundle: Bundle) -> None:
    with st.expander("Download", icon=":material/download:"):
        for setting, slider in _SLIDERS.items():
            if setting not in _SETTABLE.get(name, ()):  # the address keeps those as well that the chapter does not show
                slider(record)
        _files(record, bundle)


def _files(record: Record, bundle: Bundle) -> None:
    """Offer the whole report, its tables, and the files behind it; each is made when its button is pressed."""
    threshold, prevalence = _chosen_threshold(record), _chosen_prevalence(record)

    def report() -> Report:
        # On a thread without a session, which our caches need; and no setting of this page touches the other models' files.
        others, _ = read_others(bundle.folder.name)
        return build_report(ReportOptions(record, others, threshold, prevalence))

    st.segmented_control(
        "Pictures are saved as",
        ["png", "svg"],
        default="png",
        required=True,
        format_func=str.upper,
        key=_PICTURES,
        bind="query-params",
        help="The camera over each chart saves it as this. The HTML report has a button for each.",
    )
    with st.container(horizontal=True):
        offer("Report as HTML", lambda: report_html(report()).encode(), f"{record.name}-report.html")
        offer("All tables as CSV", lambda: tables_zip(report()), f"{record.name}-tables.zip")
    with st.container(horizontal=True):
        for name in ("evaluation.json", "predictions.csv", "MODEL_CARD.md"):
            offer(name, bundle.file(name).read_bytes, f"{bundle.name}-{name}")
    st.caption(
        "For a PDF, open the HTML report in a browser and print it to PDF. It holds the operating point and the prevalence that "
        "are chosen here. The address of this page opens it again as it is now."
    )


def _show_chapter(shown: Chapter) -> None:
    """Show the items of a chapter in their order; charts that follow each other stand side by side where there is room."""
    for _, group in groupby(shown.items, key=type):
        items = list(group)
        if isinstance(items[0], Chart) and len(items) > 1:
            with st.grid(2, min_column_width=PAIRED_FROM, gap="medium") as grid:
                for item in items:
                    with grid.cell():
                        _item(item)
        else:
            for item in items:
                _item(item)


def _chart(shown: Chart) -> None:
    st.subheader(shown.title, anchor=False)
    chart(shown.figure, alt=shown.alt, save_as=(shown.name, st.session_state.get(_PICTURES) or "png"))
    if shown.note:
        st.caption(plain(shown.note))


def _item(item: Item) -> None:
    if isinstance(item, Chart):
        _chart(item)
    elif isinstance(item, Words):
        if item.tone == "caution":
            st.warning(plain(item.text), icon=":material/warning:")
        else:
            (st.caption if item.tone == "remark" else st.markdown)(plain(item.text))
    elif isinstance(item, Command):
        st.code(item.text, language="shell", wrap_lines=True)
    elif item.folded:
        with st.expander(item.title):
            _table(item)
    else:
        st.subheader(item.title, anchor=False)
        _table(item)


def _table(shown: Table) -> None:
    static_table(shown.table)
    if shown.note:
        st.caption(plain(shown.note))
    offer(
        "CSV",
        lambda: csv_of(shown.table).encode(),
        f"{shown.name}.csv",
        "text/csv",
        help=f"{shown.title}, as a table",
        quiet=True,
    )


def _threshold_slider(record: Record) -> None:
    shipped = float(record.evaluation["threshold"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.slider(
            f"Call COVID-19 from this probability on (the model's own operating point: {shipped:.3f})",
            0.0,
            1.0,
            value=shipped,
            step=_STEP,
            format="%.3f",
            key=_THRESHOLD,
            bind="query-params",
        )
        st.button("The model's own", icon=":material/undo:", on_click=set_state, args=(_THRESHOLD, shipped))


def _prevalence_slider(record: Record) -> None:
    cohort = default_prevalence(record.evaluation)
    judged = cohort if cohort == record.evaluation["counts"]["prevalence"] else -1.0
    st.select_slider(
        "How common is COVID-19 among those who are read?",
        post_test_words.prevalence_choices(cohort),
        value=cohort,
        format_func=lambda choice: post_test_words.prevalence_label(choice, judged),
        key=_PREVALENCE,
        bind="query-params",
    )


_SLIDERS: Mapping[str, Callable[[Record], None]] = {_PREVALENCE: _prevalence_slider, _THRESHOLD: _threshold_slider}
_SETTABLE: Mapping[str, tuple[str, ...]] = {
    "operating-point": (_THRESHOLD,),
    "in-your-clinic": (_PREVALENCE, _THRESHOLD),
}
"""Chapter -> what can be set in it."""


def _chosen_threshold(record: Record) -> float:
    """The threshold of the slider; the model's own where it stands within half a step of it, as an address rounds it."""
    shipped = float(record.evaluation["threshold"])
    chosen = float(st.session_state.get(_THRESHOLD, shipped))
    return shipped if abs(chosen - shipped) < _STEP / 2 else chosen


def _chosen_prevalence(record: Record) -> float:
    return float(st.session_state.get(_PREVALENCE, default_prevalence(record.evaluation)))
