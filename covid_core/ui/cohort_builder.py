"""The cohort builder: the rules of `prepare` as controls, and the flow, the split and the command that follow."""

import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import RLock

import pandas as pd
import streamlit as st

from covid_core.dataset import summaries
from covid_core.dataset.cohort import Ambiguous, Cohort, CohortRules, flow_to_json, select_cohort
from covid_core.dataset.prepare import (
    DEFAULT_OUT,
    FLOW_NAME,
    RECORD_NAME,
    WIDEST_RULES,
    Fingerprints,
    PlanRules,
    SplitPlan,
    part_counts,
    parts_table,
    plan_split,
    prepare_command,
    read_images,
    read_split,
    readable_cohort,
    split_csv,
)
from covid_core.errors import DatasetError
from covid_core.figures.dataset import flow
from covid_core.files import read_json
from covid_core.labels import CLASS_TITLES, CLASSES
from covid_core.paths import METADATA_NAME, PROJECT
from covid_core.ui.dataset import OpenCollection, flow_table, pictures_of, store_of
from covid_core.ui.page import chart, csv_bytes, offer, problem, progress_bar, set_state, static_table

_READING = "cohort_being_read"
_PLACEHOLDER = "FOLDER"
_COLUMNS = ("patientid", "finding", "view", "modality", "filename", "label", "source", "sex", "age")
"""What the rules and the split need of a table; the rest of a large one is not copied for them."""
_MOST_PLANS = 32
_AMBIGUOUS: dict[Ambiguous, str] = {"drop": "leave out", "non_covid": "as labelled", "covid": "as COVID-19"}
_MAX_SEED = 2**32 - 1  # as on the command line
_WHOLE = 100


@dataclass
class _CohortCache:
    """What was worked out of one collection, by the rules; several sessions share it, under its lock."""

    cohorts: dict[CohortRules, Cohort] = field(default_factory=dict)
    """From the table and the presence of files alone."""
    fingerprints: Fingerprints | None = None
    """Of the images that some rules may use, once they were read."""
    readable: dict[CohortRules, Cohort] = field(default_factory=dict)
    """The cohorts with their last step, once the images were read."""
    plans: dict[PlanRules, SplitPlan | DatasetError] = field(default_factory=dict)
    """The latest splits, or why there is none."""
    lock: RLock = field(default_factory=RLock)


def rule_controls() -> PlanRules:
    """Show the rules as controls, which the address keeps, and give what they are set to."""
    default = PlanRules()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        ambiguous = st.segmented_control(
            "No Finding in a patient who has COVID-19 in another image",
            list(_AMBIGUOUS),
            default=default.cohort.ambiguous,
            required=True,
            format_func=lambda choice: _AMBIGUOUS[choice],
            key="ambiguous",
            bind="query-params",
        )
        supine = st.toggle(
            "Add AP Supine images where others are few",
            default.cohort.include_supine,
            key="supine",
            bind="query-params",
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=360):
            handles = st.slider(
                "Parts: training up to the first handle, validation up to the second, test the rest",
                1,
                _WHOLE - 1,
                _handles(default),
                key="shares",
                format="%d %%",
                bind="query-params",
            )
        # No number input: Streamlit (1.67) fails at an address with `seed=inf`.
        typed = st.text_input(
            "Seed",
            str(default.seed),
            key="seed",
            bind="query-params",
            max_chars=10,
            width=150,
            help="Another number gives another split by the same rules; the same number always gives the same one.",
        )
        valid = re.fullmatch(r"[0-9]{1,10}", typed) is not None and int(typed) <= _MAX_SEED
        # Each part gets at least one percent.
        train = min(*handles, _WHOLE - 2)
        val = max(*handles, train + 1) - train
        rules = PlanRules(
            CohortRules(ambiguous=ambiguous or default.cohort.ambiguous, include_supine=supine),
            (train / _WHOLE, val / _WHOLE, (_WHOLE - train - val) / _WHOLE),
            int(typed) if valid else default.seed,
        )
        st.button(
            "Back to the defaults",
            icon=":material/restart_alt:",
            type="tertiary",
            key="cohort_defaults",
            disabled=valid and rules == default,
            on_click=_set_defaults,
        )
    if not valid:
        st.warning(
            f"The seed is a whole number from 0 to {_MAX_SEED}. {default.seed} is used.", icon=":material/warning:"
        )
    st.caption(
        f"Training {train} %, validation {val} %, test {_WHOLE - train - val} % of the images of each class; all images of a "
        "patient stay in one part."
    )
    return rules


def _set_defaults() -> None:
    rules = PlanRules()
    values = {"ambiguous": rules.cohort.ambiguous, "supine": rules.cohort.include_supine, "seed": str(rules.seed)}
    st.session_state.update({**values, "shares": _handles(rules)})


def _handles(rules: PlanRules) -> tuple[int, int]:
    train, val, _ = rules.fractions
    return round(_WHOLE * train), round(_WHOLE * (train + val))


def cohort_section(collection: OpenCollection, rules: PlanRules) -> None:
    """Show what the rules leave of a collection, and how it is split; offer the command and the files."""
    st.markdown(
        "From all images of the table (the filters above do not count here) to the images that a model uses, step by step. Every "
        "image left out has a reason."
    )
    cache = _cache(collection)
    cohort, plan = _cohort(collection, cache, rules.cohort), _plan(collection, cache, rules)
    to_read = st.empty()  # cleared at once, not when the images are read
    if isinstance(plan, DatasetError):
        problem(plan)
    else:
        _warn_of_classes(cohort)
    st.markdown(summaries.cohort_sentence(cohort.table))
    _drawn(cohort, plan if isinstance(plan, SplitPlan) else None)
    _command(collection, rules)
    _downloads(cohort, plan if isinstance(plan, SplitPlan) else None)
    if collection.images is None:
        with to_read.container():
            st.info(
                "The images of this table are not installed, so no step looks for the files and there is no split. Install them "
                "with `python -m covid_core fetch`, or prepare your own by the command below.",
                icon=":material/info:",
            )
    elif cache.fingerprints is None:
        # Last, so that all else can be used while the images are read.
        with to_read.container():
            _offer_to_read(collection, collection.images, cache)


def exclusions_now(collection: OpenCollection, rules: PlanRules) -> pd.DataFrame:
    """Which images the rules leave out, and why: `Cohort.exclusions`, with the unreadable ones once the images were read.

    The same object as long as rules and collection are the same; not to be changed.
    """
    return _cohort(collection, _cache(collection), rules.cohort).exclusions


def part_of_split(collection: OpenCollection, rules: PlanRules) -> pd.DataFrame | None:
    """The split by the rules: the one made here, else the prepared one if it was made by the same rules.

    Returns:
        Rows of `split.csv`, the same object as long as nothing changes, not to be changed; None where there is none.
    """
    plan = _plan(collection, _cache(collection), rules)
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
            f"All images that are left are of one class, {CLASS_TITLES[there[0]]}. A split needs both: change a rule or use "
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
    with st.expander("Numbers", icon=":material/table:"):
        flow_table(steps)
        if plan is not None:
            static_table(parts_table(plan.split))
    if plan is not None:
        st.markdown(
            f"In more than one part: **{plan.overlap.patients}** patients, **{plan.overlap.duplicates}** duplicates. "
            f"{len(plan.duplicate_pairs)} pairs of nearly identical images are kept together."
        )


def _command(collection: OpenCollection, rules: PlanRules) -> None:
    st.markdown("**The same on the command line**")
    folder = collection.folder
    if folder is None:
        st.caption(
            f"Put your table as `{METADATA_NAME}` into a folder, its images into `images/` in it, and name that folder in place "
            f"of `{_PLACEHOLDER}`."
        )
        name = _PLACEHOLDER
    else:
        # Relative to the project, where the command is run; a visitor does not learn where the project is.
        name = str(folder) if collection.own else os.path.relpath(folder, PROJECT)
    st.code(prepare_command(name, rules), language="bash", wrap_lines=True)


def _downloads(cohort: Cohort, plan: SplitPlan | None) -> None:
    with st.container(horizontal=True):
        if plan is not None:
            offer("Split (split.csv)", split_csv(plan.split), RECORD_NAME, "text/csv")
        if len(cohort.exclusions):
            made = partial(csv_bytes, cohort.exclusions.fillna(""))
            offer("Images left out, with reasons (CSV)", made, "left_out.csv", "text/csv")


def _offer_to_read(collection: OpenCollection, images: Path, cache: _CohortCache) -> None:
    """Offer to read the images, or read on: Streamlit ends the run at the next image when the reader does anything else."""
    # All that some rules may use, so that no rule needs more images.
    names = _cohort(collection, cache, WIDEST_RULES).table["filename"].tolist()
    if not names:
        return
    if st.session_state.get(_READING) != collection.content:
        st.caption(
            "Two steps need the images: leaving out those that cannot be read, and keeping copies of one image in one part. "
            "They are read once; then every rule shows its split at once. If you stop, what was read is kept."
        )
        st.button(
            f"Read the {len(names)} images and split them",
            type="primary",
            icon=":material/play_arrow:",
            key="cohort_read",
            on_click=set_state,
            args=(_READING, collection.content),
        )
        return
    bar = st.progress(0.0, f"0 of {len(names)} images")
    st.button("Stop reading", icon=":material/stop:", key="cohort_stop", on_click=set_state, args=(_READING, None))

    fingerprints = read_images(
        images,
        names,
        progress_bar(bar, "Reading images"),
        pictures_of(collection).fingerprints,
        progress_bar(bar, "Comparing images"),
    )
    with cache.lock:
        cache.fingerprints = fingerprints
    set_state(_READING, None)
    st.rerun()


def _cohort(collection: OpenCollection, cache: _CohortCache, rules: CohortRules) -> Cohort:
    """The cohort as far as it is known: with the step `readable` once the images were read."""
    with cache.lock:
        if rules not in cache.cohorts:
            cache.cohorts[rules] = select_cohort(collection.table[list(_COLUMNS)], collection.images, rules)
        if cache.fingerprints is not None and rules not in cache.readable:
            try:
                cache.readable[rules] = readable_cohort(cache.cohorts[rules], cache.fingerprints)
            except DatasetError:
                # Files came after the others were read: all are read again, most of them from the store.
                cache.fingerprints = None
        return cache.cohorts[rules] if cache.fingerprints is None else cache.readable[rules]


def _plan(collection: OpenCollection, cache: _CohortCache, rules: PlanRules) -> SplitPlan | DatasetError | None:
    """The split, or why there is none; None as long as the images were not read."""
    with cache.lock:
        _cohort(collection, cache, rules.cohort)
        if cache.fingerprints is None:
            return None
        if rules not in cache.plans:
            if len(cache.plans) >= _MOST_PLANS:
                cache.plans.clear()
            try:
                cohort = cache.cohorts[rules.cohort]
                cache.plans[rules] = plan_split(cohort, cache.fingerprints, rules.fractions, rules.seed)
            except DatasetError as error:
                cache.plans[rules] = DatasetError(str(error))  # without the frames that the one raised holds on to
        return cache.plans[rules]


def _cache(collection: OpenCollection) -> _CohortCache:
    cache: _CohortCache = store_of(collection).setdefault("cohort", _CohortCache())
    return cache


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
