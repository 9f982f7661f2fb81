"""The filters over the collection: set once above every section, counted at once, and kept in the address.

Knows the widgets and the address. What a filter means is the part of `covid_core.data.filters`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from covid_core.data import overview
from covid_core.data.countries import country_name
from covid_core.data.filters import IN_COHORT, NO_PART, NOT_GIVEN, Filters, filtered, usable
from covid_core.data.plan import PART_TITLES
from covid_core.labels import CLASS_TITLES

_AGE, _FILE, _TEXT = "age", "file", "text"
_WRITTEN, _TABLE, _LAST = "filter_addresses", "filters_of_table", "filters_last_set"
_ANY_FILE: dict[str, bool | None] = {"Any": None, "Here": True, "Not here": False}
_REMEMBERED = 50  # addresses that this session wrote
_OLDEST = 100  # years; the slider reaches further where the table does
_FATES = {
    IN_COHORT: "used",
    "x_ray": "left out: no X-ray",
    "frontal": "left out: not frontal",
    "labelled": "left out: no finding",
    "file": "left out: no file",
    "unambiguous": "left out: No Finding of a COVID-19 patient",
    "readable": "left out: unreadable",
}
_ANSWERS = {"Y": "positive", "N": "negative"}


def fate_name(step: str) -> str:
    """What became of a row, in words: a value of the column `cohort`."""
    return _FATES.get(step, f"left out: {step}")


def part_name(part: str) -> str:
    """A part of the split, in words: a value of the column `part`."""
    return "in no part" if part == NO_PART else PART_TITLES.get(part, part)


def _class_name(label: str) -> str:
    return CLASS_TITLES.get(label, label)


_CHOICES: dict[str, tuple[str, str, str, Callable[[str], str]]] = {
    "finding": ("findings", "Finding", "finding_path", str),
    "class": ("labels", "Class", "label", _class_name),
    "view": ("views", "View", "view", str),
    "modality": ("modalities", "Modality", "modality", str),
    "sex": ("sexes", "Sex", "sex", str),
    "source": ("sources", "Source", "source", str),
    "country": ("countries", "Country", "country", country_name),
    "rt_pcr": ("rt_pcr", "RT-PCR", "RT_PCR_positive", lambda answer: _ANSWERS.get(answer, answer)),
    "licence": ("licences", "Licence", "license", str),
    "cohort": ("cohort", "Cohort", "cohort", fate_name),
    "part": ("parts", "Part of the split", "part", part_name),
}
"""Key of the widget and in the address -> field of `Filters`, title, column, and the words for a value."""
_ALWAYS_SEEN = ("finding", "class", "view")


def filter_bar(explored: pd.DataFrame, options: dict[str, dict[str, int]], content: str) -> pd.DataFrame:
    """Show the filters and what they leave.

    Args:
        explored: as `with_choices` gives it.
        options: as `filter_options` gives it for the same table.
        content: tells one table from another.

    Returns:
        The rows that meet every filter, on the index of `explored`.
    """
    oldest = _oldest(explored)
    _follow_address(explored, content, oldest)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for key in _ALWAYS_SEEN:
            _choice(key, options)
        st.text_input(
            "Words in the notes", key=_TEXT, icon=":material/search:", placeholder="e.g. ventilated", width=220
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        further = [key for key in _CHOICES if key not in _ALWAYS_SEEN and key in options]
        set_there = _count_set(further, oldest)
        with st.popover(f"More filters ({set_there})" if set_there else "More filters", icon=":material/tune:"):
            for key in further:
                _choice(key, options)
            st.slider("Age (years)", 0, oldest, key=_AGE, help="Narrowed, it leaves out images without an age.")
            if "has_file" in explored:
                st.segmented_control("The image's file", list(_ANY_FILE), required=True, key=_FILE)
        chosen = _chosen(oldest)
        st.button(
            "Clear all",
            icon=":material/filter_alt_off:",
            type="tertiary",
            key="clear_filters",
            disabled=chosen == Filters(),
            on_click=_put,
            args=(Filters(), oldest),
        )
        kept = filtered(explored, chosen)
        _counts(kept, len(explored))
    _write_address(chosen)
    return kept


def filter_options(explored: pd.DataFrame) -> dict[str, dict[str, int]]:
    """What can be chosen: by the key of each filter, its values and their images, the most common first.

    A filter that the table has no column for is left out.
    """
    options = {
        key: {str(value): int(n) for value, n in counted.items()}
        for key, (_, _, column, _) in _CHOICES.items()
        if key != "finding" and column in explored
        for counted in [explored[column].fillna(NOT_GIVEN).value_counts()]
    }
    return {"finding": overview.finding_counts(explored), **options}


def _choice(key: str, options: dict[str, dict[str, int]]) -> None:
    _, title, _, words = _CHOICES[key]
    counted = options[key]
    values = [*counted, *(value for value in st.session_state.get(key, ()) if value not in counted)]
    st.multiselect(
        title,
        values,
        key=key,
        placeholder="All",
        format_func=lambda value: f"{words(value)} ({counted[value]})" if value in counted else words(value),
    )


def _counts(kept: pd.DataFrame, everything: int) -> None:
    counts = overview.counts(kept)
    by_class = [f"{CLASS_TITLES[name]} **{count}**" for name, count in counts.by_label.items()]
    unlabelled = [f"no class **{counts.unlabelled}**"] if counts.unlabelled else []
    of_all = "" if counts.images == everything else f" of {everything}"
    st.markdown(
        f"**{counts.images}**{of_all} {'image' if everything == 1 else 'images'}, {_number(counts.patients, 'patient')}, "
        f"{_number(counts.sources, 'source')}, {_number(counts.countries, 'country', 'countries')}  ·  "
        f"{', '.join([*by_class, *unlabelled])}"
    )


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"**{count}** {one if count == 1 else many or one + 's'}"


def _follow_address(explored: pd.DataFrame, content: str, oldest: int) -> None:
    """Set the widgets as the address says, where it was not this page that wrote it; and drop what a new table lacks.

    An address that this session wrote is passed over even if it is an older one: a browser that is quickly asked twice sends
    the second time what the first has not changed yet. Who comes back from another page finds the filters as they were.
    """
    asked = Filters.from_query(_filters_in_address())
    state = st.session_state
    written: list[Filters] = state.setdefault(_WRITTEN, [Filters()])
    if asked not in written:
        _put(usable(explored, asked), oldest)
        written.append(asked)
    elif _AGE not in state:
        _put(usable(explored, state.get(_LAST, Filters())), oldest)
    elif state.get(_TABLE) != content:
        _put(usable(explored, _chosen(oldest)), oldest)
    state[_TABLE] = content


def _put(filters: Filters, oldest: int) -> None:
    for key, (field, *_) in _CHOICES.items():
        st.session_state[key] = list(getattr(filters, field))
    low = 0 if filters.age_from is None else min(max(round(filters.age_from), 0), oldest)
    high = oldest if filters.age_to is None else min(max(round(filters.age_to), low), oldest)
    st.session_state[_AGE] = (low, high)
    st.session_state[_FILE] = next(word for word, here in _ANY_FILE.items() if here == filters.has_file)
    st.session_state[_TEXT] = filters.text


def _chosen(oldest: int) -> Filters:
    state = st.session_state
    low, high = state.get(_AGE, (0, oldest))
    choices_made: dict[str, Any] = {field: state.get(key, ()) for key, (field, *_) in _CHOICES.items()}
    return Filters(
        **choices_made,
        age_from=low if low > 0 else None,
        age_to=high if high < oldest else None,
        has_file=_ANY_FILE[state.get(_FILE) or "Any"],
        text=state.get(_TEXT) or "",
    )


def _count_set(keys: Sequence[str], oldest: int) -> int:
    """How many of some filters, and of age and file, are set."""
    state = st.session_state
    return sum([*(bool(state.get(key)) for key in keys), state.get(_AGE) != (0, oldest), state.get(_FILE) != "Any"])


def _oldest(explored: pd.DataFrame) -> int:
    oldest = float(explored["age"].max())
    return _OLDEST if math.isnan(oldest) else max(_OLDEST, min(math.ceil(oldest), 1000))


def _filters_in_address() -> dict[str, list[str]]:
    return {key: st.query_params.get_all(key) for key in _KEYS_IN_ADDRESS if key in st.query_params}


def _write_address(chosen: Filters) -> None:
    query = chosen.to_query()
    for key in _KEYS_IN_ADDRESS:
        if key in query and st.query_params.get_all(key) != query[key]:
            st.query_params[key] = query[key]
        elif key not in query and key in st.query_params:
            del st.query_params[key]
    state = st.session_state
    state[_LAST] = chosen
    if chosen not in state[_WRITTEN]:
        state[_WRITTEN] = [*state[_WRITTEN][-_REMEMBERED:], chosen]


_KEYS_IN_ADDRESS = (*_CHOICES, "age_from", "age_to", _FILE, _TEXT)
