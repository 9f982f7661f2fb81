"""The filters over the collection: set once above every section, counted at once, and kept in the address.

Knows the widgets and the address. What a filter means is the part of `covid_core.data.filters`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from covid_core.data import overview
from covid_core.data.countries import country_name
from covid_core.data.filters import IN_COHORT, NO_PART, NOT_GIVEN, Filters, filtered, finding_counts, usable
from covid_core.data.prepare import PART_TITLES
from covid_core.labels import CLASS_TITLES
from covid_core.ui.address import asks_anew, write
from covid_core.ui.frame import plain

_AGE, _FILE, _TEXT = "age", "file", "text"
_TABLE, _LAST, _LINKED = "filters_of_table", "filters_last_set", "filters_of_link"
_ANY_FILE: dict[str, bool | None] = {"Any": None, "Here": True, "Not here": False}
_MOST_OPTIONS, _LONGEST_LIST = 500, 300
_LABELS = "labels of filter "
"""Begins the key of the labels that a list of filters last had; its own key follows."""
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


@dataclass(frozen=True)
class _Linked:
    """What a link asked for, the filters as they were set to meet it, and what of it the table lacks, in words."""

    asked: Filters
    met: Filters
    lost: tuple[str, ...]


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
            "Words", key=_TEXT, icon=":material/search:", placeholder="Notes, file, patient, place", width=260
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        further = [key for key in _CHOICES if key not in _ALWAYS_SEEN and key in options]
        set_there = _count_set(_chosen(oldest), further)
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
    _say_what_is_lost(chosen)
    write(_LAST, chosen, chosen.to_query(), _KEYS_IN_ADDRESS)
    st.session_state[_LAST] = chosen
    return kept


def filter_options(explored: pd.DataFrame) -> dict[str, dict[str, int]]:
    """What can be chosen: by the key of each filter, its values and their images, the most common first.

    A filter that the table has no column for is left out, and so are all but the most common of very many values.
    """
    options = {
        key: {str(value): int(n) for value, n in counted.items()}
        for key, (_, _, column, _) in _CHOICES.items()
        if key != "finding" and column in explored
        for counted in [explored[column].fillna(NOT_GIVEN).value_counts().head(_MOST_OPTIONS)]
    }
    return {"finding": dict(list(finding_counts(explored).items())[:_MOST_OPTIONS]), **options}


def _choice(key: str, options: dict[str, dict[str, int]]) -> None:
    _, title, _, words = _CHOICES[key]
    counted = options[key]
    chosen = list(st.session_state.get(key, ()))

    def label(value: str) -> str:
        return f"{words(value)} ({counted[value]})" if value in counted else words(value)

    labels = [label(value) for value in chosen]
    if st.session_state.get(_LABELS + key, labels) != labels:
        st.session_state[key] = chosen  # else the browser would give back the labels it knows, which are none any more
    values = [*counted, *(value for value in chosen if value not in counted)]
    many = f"The {_MOST_OPTIONS} most common can be chosen here." if len(counted) == _MOST_OPTIONS else None
    now = st.multiselect(title, values, key=key, placeholder="All", format_func=label, help=many)
    st.session_state[_LABELS + key] = [label(value) for value in now]


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

    Who comes back from another page finds the filters as they were.
    """
    asked = Filters.from_query({key: st.query_params.get_all(key) for key in _KEYS_IN_ADDRESS})
    state = st.session_state
    last: Filters = state.get(_LAST, Filters())
    linked: _Linked | None = state.get(_LINKED)
    if asks_anew(_LAST, asked, Filters()):
        _put_linked(asked, usable(explored, asked), oldest)
    elif linked is not None and linked.lost != _lost(linked.asked, met := usable(explored, linked.asked)):
        _put_linked(linked.asked, met, oldest)
    elif _AGE not in state or state.get(_TABLE) != content:
        # Not as the widgets have it: their bounds are those of the table before.
        _put(usable(explored, last), oldest)
    state[_TABLE] = content


def _put_linked(asked: Filters, met: Filters, oldest: int) -> None:
    """Set the filters to what of a link the table can meet, and remember the rest."""
    _put(met, oldest)
    lost = _lost(asked, met)
    st.session_state[_LINKED] = _Linked(asked, _chosen(oldest), lost) if lost else None


def _lost(asked: Filters, met: Filters) -> tuple[str, ...]:
    """What is asked for and not met, in words."""
    lost = [
        f"{title}: {', '.join(words(value) for value in getattr(asked, field) if value not in getattr(met, field))}"
        for field, title, _, words in _CHOICES.values()
        if getattr(asked, field) != getattr(met, field)
    ]
    return (*lost, *(["the image's file"] if asked.has_file != met.has_file else []))


def _say_what_is_lost(chosen: Filters) -> None:
    """Say which filters of a link this table does not have, until others are chosen."""
    linked: _Linked | None = st.session_state.get(_LINKED)
    if linked is None:
        return
    if linked.met != chosen:
        st.session_state[_LINKED] = None
        return
    in_part = linked.asked.parts != linked.met.parts
    read = " The parts of the split are known once the films were read, under Cohort." if in_part else ""
    st.info(
        f"The link also asks for what this table does not have: {plain('; '.join(linked.lost)[:_LONGEST_LIST])}.{read}",
        icon=":material/link_off:",
    )


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


def _count_set(chosen: Filters, keys: Sequence[str]) -> int:
    """How many of some filters, and of age and file, are set."""
    aged = (chosen.age_from, chosen.age_to) != (None, None)
    return sum([*(bool(getattr(chosen, _CHOICES[key][0])) for key in keys), aged, chosen.has_file is not None])


def _oldest(explored: pd.DataFrame) -> int:
    oldest = float(explored["age"].max())
    return _OLDEST if math.isnan(oldest) else max(_OLDEST, min(math.ceil(oldest), 1000))


_KEYS_IN_ADDRESS = (*_CHOICES, "age_from", "age_to", _FILE, _TEXT)
