"""The cohort builder: the rules of `prepare` as controls, the flow and the split that follow, and how to take them away.

Knows controls, the address and what may be remembered for whom. What the rules do is the part of `covid_core.data.prepare`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

import pandas as pd
import streamlit as st

from covid_core.data import overview
from covid_core.data.cohort import Cohort, CohortRules, flow_to_json, select_cohort
from covid_core.data.prepare import (
    DEFAULT_OUT,
    FLOW_NAME,
    RECORD_NAME,
    WIDEST_RULES,
    PlanRules,
    ReadFilms,
    SplitPlan,
    part_counts,
    parts_table,
    plan_split,
    prepare_command,
    read_films,
    read_split,
    readable_cohort,
    split_csv,
)
from covid_core.errors import DatasetError
from covid_core.figures.dataset import flow
from covid_core.labels import CLASS_TITLES, CLASSES
from covid_core.locations import METADATA_NAME, PROJECT
from covid_core.model_report.csv_tables import CSV_ENCODING, csv_of
from covid_core.storage import read_json
from covid_core.ui.cohort_rules import chosen_rules, rule_controls
from covid_core.ui.collection import OpenCollection, flow_table, pictures_of
from covid_core.ui.frame import chart, offer, problem, static_table

_READING = "cohort_being_read"
_PLACEHOLDER = "FOLDER"
_COLUMNS = ("patientid", "finding", "view", "modality", "filename", "label", "source", "sex", "age")
"""What the rules and the split need of a table; the rest of a large one is not copied for them."""
_MOST_PLANS = 32


@dataclass
class _Desk:
    """What was worked out of one collection, by the rules; the same object as long as nothing of it changes.

    Attributes:
        cohorts: from the table and the presence of files alone.
        films: those that some rules may use, once they were read.
        readable: the cohorts with their last step, once the films were read.
        plans: the splits, the latest ones, or why there is none.
        lock: several sessions look at one collection.
    """

    cohorts: dict[CohortRules, Cohort] = field(default_factory=dict)
    films: ReadFilms | None = None
    readable: dict[CohortRules, Cohort] = field(default_factory=dict)
    plans: dict[PlanRules, SplitPlan | DatasetError] = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock)


def cohort_section(collection: OpenCollection) -> None:
    """Show the rules, what they leave of a collection, and how it is split; offer the command and the files."""
    st.markdown(
        "From all images of the table (the filters above do not count here) to the films that a model uses, step by step. Every "
        "image left out has a reason."
    )
    rules = rule_controls()
    desk = _desk(collection)
    cohort, plan = _cohort(collection, desk, rules.cohort), _plan(collection, desk, rules)
    to_read = st.empty()  # what stood there goes at once, not when the films are read
    if isinstance(plan, DatasetError):
        problem(plan)
    else:
        _warn_of_classes(cohort)
    st.markdown(overview.cohort_sentence(cohort.table))
    _drawn(cohort, plan if isinstance(plan, SplitPlan) else None)
    _command(collection, rules)
    _downloads(cohort, plan if isinstance(plan, SplitPlan) else None)
    if collection.images is None:
        with to_read.container():
            st.info(
                "The images of this table are not here. So no step looks for the files, and there is no split: that needs the "
                "films themselves. Install them with `python -m covid_core fetch`, or prepare your own by the command below.",
                icon=":material/info:",
            )
    elif desk.films is None:
        # Last, so that all that needs no picture already stands there and can be used while the films are read.
        with to_read.container():
            _offer_to_read(collection, collection.images, desk)


def exclusions_now(collection: OpenCollection) -> pd.DataFrame:
    """Which images the rules chosen at present leave out, and why.

    Returns:
        As `Cohort.exclusions`; with the unreadable ones once the films were read. The same object as long as rules and
        collection are the same; not to be changed.
    """
    return _cohort(collection, _desk(collection), chosen_rules().cohort).exclusions


def part_of_split(collection: OpenCollection) -> pd.DataFrame | None:
    """The split by the rules chosen at present: the one made here, else the prepared one if it was made by the same rules.

    Returns:
        Rows of `split.csv`, the same object as long as nothing changes, not to be changed; None where there is none.
    """
    rules = chosen_rules()
    plan = _plan(collection, _desk(collection), rules)
    if plan is not None:
        return plan.split if isinstance(plan, SplitPlan) else None
    record, account = (PROJECT / DEFAULT_OUT / name for name in (RECORD_NAME, FLOW_NAME))
    try:
        changed = (record.stat().st_mtime_ns, account.stat().st_mtime_ns)
    except OSError:
        return None
    prepared = _prepared(str(record.parent), changed)
    return prepared[1] if prepared is not None and prepared[0] == (collection.content, rules) else None


def _warn_of_classes(cohort: Cohort) -> None:
    """Say what is wrong with a cohort that no model can learn from."""
    there = [label for label in CLASSES if (cohort.table["label"] == label).any()]
    if not there:
        st.warning(
            "No image is left: see below which step left them out, and change a rule.", icon=":material/warning:"
        )
    elif len(there) < len(CLASSES):
        st.warning(
            f"All images that are left are of one class, {CLASS_TITLES[there[0]]}. A split needs both: change a rule, or take "
            "another table.",
            icon=":material/warning:",
        )


def _drawn(cohort: Cohort, plan: SplitPlan | None) -> None:
    steps = flow_to_json(cohort.flow)
    parts = [] if plan is None else part_counts(plan.split)
    chart(
        flow(steps, parts),
        alt="Bars: images that remain after each step, those left out, and the parts; the tables say the same",
    )
    with st.expander("The same in numbers", icon=":material/table:"):
        flow_table(steps)
        if plan is not None:
            static_table(parts_table(plan.split))
    if plan is not None:
        st.markdown(
            f"In more than one part: **{plan.overlap.patients}** patients, **{plan.overlap.duplicates}** duplicates. "
            f"{len(plan.duplicate_pairs)} pairs of (almost) the same picture are kept together."
        )


def _command(collection: OpenCollection, rules: PlanRules) -> None:
    st.markdown("**The same on the command line**")
    folder = collection.folder
    if folder is None:
        st.caption(
            f"Put your table as `{METADATA_NAME}` into a folder, its images into `images/` within, and name that folder in place "
            f"of `{_PLACEHOLDER}`."
        )
        name = _PLACEHOLDER
    else:
        # Seen from the project, where it is run, and so that a visitor learns nothing of where the project stands.
        name = str(folder) if collection.own else os.path.relpath(folder, PROJECT)
    st.code(prepare_command(name, rules), language="bash", wrap_lines=True)


def _downloads(cohort: Cohort, plan: SplitPlan | None) -> None:
    with st.container(horizontal=True):
        if plan is not None:
            offer("Split (split.csv)", split_csv(plan.split), RECORD_NAME, "text/csv", key="cohort_split")
        if len(cohort.exclusions):
            table = cohort.exclusions.fillna("")
            offer(
                "Images left out, with reasons (CSV)",
                lambda: csv_of(table).encode(CSV_ENCODING, errors="backslashreplace"),
                "left_out.csv",
                "text/csv",
                key="cohort_left_out",
            )


def _offer_to_read(collection: OpenCollection, images: Path, desk: _Desk) -> None:
    """Offer to read the films, or go on reading them: Streamlit ends that at the next film when anything else is asked for."""
    # All that some choice of rules may use, so that no rule needs further films.
    names = _cohort(collection, desk, WIDEST_RULES).table["filename"].tolist()
    if not names:
        return
    key = _key(collection)
    if st.session_state.get(_READING) != key:
        st.caption(
            "Two steps need the films: leaving out those that cannot be read, and keeping copies of one picture in one part. "
            "They are read once; every rule then shows its split at once. What is read when you stop need not be read again."
        )
        st.button(
            f"Read the {len(names)} films and split them",
            type="primary",
            icon=":material/play_arrow:",
            key="cohort_read",
            on_click=_start,
            args=(key,),
        )
        return
    bar = st.progress(0.0, f"0 of {len(names)} films")
    st.button("Stop reading", icon=":material/stop:", key="cohort_stop", on_click=_stop)

    def read(done: int, total: int) -> None:
        bar.progress(done / total, f"{done} of {total} films read")

    def compared(done: int, total: int) -> None:
        bar.progress(done / total, f"{done} of {total} films compared with the others")

    desk.films = read_films(images, names, read, pictures_of(collection).fingerprints, compared)
    _stop()
    st.rerun()


def _start(key: tuple[str, str, int]) -> None:
    st.session_state[_READING] = key


def _stop() -> None:
    st.session_state.pop(_READING, None)


def _cohort(collection: OpenCollection, desk: _Desk, rules: CohortRules) -> Cohort:
    """The cohort as far as it is known: with the step `readable` once the films were read."""
    with desk.lock:
        if rules not in desk.cohorts:
            desk.cohorts[rules] = select_cohort(collection.table[list(_COLUMNS)], collection.images, rules)
        if desk.films is not None and rules not in desk.readable:
            try:
                desk.readable[rules] = readable_cohort(desk.cohorts[rules], desk.films)
            except DatasetError:
                # Files came after the others were read: all are read again, most of them from the store.
                desk.films = None
        return desk.cohorts[rules] if desk.films is None else desk.readable[rules]


def _plan(collection: OpenCollection, desk: _Desk, rules: PlanRules) -> SplitPlan | DatasetError | None:
    """The split, or why there is none; None as long as the films were not read."""
    with desk.lock:
        _cohort(collection, desk, rules.cohort)
        if desk.films is None:
            return None
        if rules not in desk.plans:
            if len(desk.plans) >= _MOST_PLANS:
                del desk.plans[next(iter(desk.plans))]
            try:
                plan = plan_split(desk.cohorts[rules.cohort], desk.films, rules.fractions, rules.seed)
            except DatasetError as error:
                desk.plans[rules] = DatasetError(str(error))  # without the frames that the one raised holds on to
            else:
                desk.plans[rules] = plan
        return desk.plans[rules]


def _desk(collection: OpenCollection) -> _Desk:
    key = _key(collection)
    return _own_desk(*key) if collection.own else _shared_desk(*key)


def _key(collection: OpenCollection) -> tuple[str, str, int]:
    """Tells one state of a collection from another: its table, its folder, and when a file last came or went there."""
    images = collection.images
    return collection.content, str(collection.folder or ""), 0 if images is None else images.stat().st_mtime_ns


@st.cache_resource(max_entries=4, show_spinner=False)
def _shared_desk(content: str, folder: str, changed_ns: int) -> _Desk:  # noqa: ARG001  (the key)
    return _Desk()


@st.cache_resource(max_entries=2, show_spinner=False, scope="session")
def _own_desk(content: str, folder: str, changed_ns: int) -> _Desk:  # noqa: ARG001  (the key)
    return _Desk()


@st.cache_resource(max_entries=2, show_spinner=False)
def _prepared(folder: str, changed_ns: tuple[int, int]) -> tuple[tuple[str, PlanRules], pd.DataFrame] | None:  # noqa: ARG001
    """A split on disk: the content of the table and the rules it was made by, and its rows; None if it cannot be used."""
    try:
        account = read_json(Path(folder) / FLOW_NAME, DatasetError)
        shares = account["fractions"]
        rules = PlanRules(
            CohortRules(**account["rules"]), (shares["train"], shares["val"], shares["test"]), account["seed"]
        )
        return (account["metadata_sha256"], rules), read_split(Path(folder))
    except (DatasetError, KeyError, TypeError, ValueError):
        return None
