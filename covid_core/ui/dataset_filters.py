"""The filters over the collection: set once above every section, counted at once, and kept in the address by Streamlit."""

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from covid_core.dataset import summaries
from covid_core.dataset.countries import country_name
from covid_core.dataset.filters import COLUMNS, IN_COHORT, NO_PART, NOT_GIVEN, Filters, filtered, finding_counts
from covid_core.dataset.prepare import PART_TITLES
from covid_core.labels import CLASS_TITLES
from covid_core.ui.page import plain

_OLDEST = 100  # years; the end of the slider is open
_AGES = (0, _OLDEST)
_FILE = {"any": None, "available": True, "missing": False}
_MOST_OPTIONS, _MOST_COUNTED = 500, 10
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


_CHOICES: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "finding": ("findings", "Finding", str),
    "class": ("labels", "Class", lambda label: CLASS_TITLES.get(label, label)),
    "view": ("views", "View", str),
    "modality": ("modalities", "Modality", str),
    "sex": ("sexes", "Sex", str),
    "source": ("sources", "Source", str),
    "country": ("countries", "Country", country_name),
    "rt_pcr": ("rt_pcr", "RT-PCR", lambda answer: _ANSWERS.get(answer, answer)),
    "licence": ("licences", "Licence", str),
    "cohort": ("cohort", "Cohort", fate_name),
    "part": ("parts", "Part of the split", part_name),
}
"""Key of the widget and in the address -> field of `Filters`, title, and the words for a value."""
_ALWAYS_SEEN = ("finding", "class", "view")


def filter_bar(explored: pd.DataFrame, options: dict[str, dict[str, int]]) -> pd.DataFrame:
    """Show the filters and how many images they leave.

    Args:
        explored: as `with_choices` gives it.
        options: of the same table, see `filter_options`.

    Returns:
        The rows that meet every filter, on the index of `explored`.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = {_CHOICES[key][0]: _choice(key, options[key]) for key in _ALWAYS_SEEN}
        text = st.text_input(
            "Search",
            key="text",
            bind="query-params",
            icon=":material/search:",
            placeholder="Notes, file, patient, place",
            width=260,
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover("More filters", icon=":material/tune:"):
            more = [key for key in options if key not in _ALWAYS_SEEN]
            chosen |= {_CHOICES[key][0]: _choice(key, options[key]) for key in more}
            ages = st.slider(
                "Age (years)",
                *_AGES,
                _AGES,
                key="age",
                bind="query-params",
                help=f"{_OLDEST} includes older patients. A narrower range leaves out images without an age.",
            )
            file = "any"
            if "has_file" in explored:
                file = st.segmented_control(
                    "Image file", list(_FILE), default="any", required=True, key="file", bind="query-params"
                )
        filters = Filters(
            **chosen,
            age_from=min(ages) if min(ages) > 0 else None,
            age_to=max(ages) if max(ages) < _OLDEST else None,
            has_file=_FILE[file or "any"],
            text=" ".join(text.split()),
        )
        st.button(
            "Clear all filters",
            icon=":material/filter_alt_off:",
            type="tertiary",
            key="clear_filters",
            disabled=filters == Filters(),
            on_click=_clear,
            args=(list(options),),
        )
        kept = filtered(explored, filters)
        _counts(kept, len(explored))
    return kept


def filter_options(explored: pd.DataFrame) -> dict[str, dict[str, int]]:
    """What can be chosen: by the key of each filter, its values and their images, the most common first.

    A filter that the table has no column for is left out, and so are all but the most common of very many values.
    """
    options = {"finding": dict(list(finding_counts(explored).items())[:_MOST_OPTIONS])}
    for key, (field, _, _) in _CHOICES.items():
        column = COLUMNS.get(field)
        if column in explored:
            counted = explored[column].fillna(NOT_GIVEN).value_counts().head(_MOST_OPTIONS)
            options[key] = {str(value): int(count) for value, count in counted.items()}
    return options


def _choice(key: str, counted: dict[str, int]) -> Sequence[str]:
    _, title, words = _CHOICES[key]
    # The address holds the words of a value, so the counts stand beside them.
    most = [f"{words(value)}: {count}" for value, count in list(counted.items())[:_MOST_COUNTED]]
    return tuple(
        st.multiselect(
            title,
            list(counted),
            key=key,
            bind="query-params",
            placeholder="All",
            format_func=words,
            help=f"Images by {title}, the most common: {plain('; '.join(most))}",
        )
    )


def _clear(keys: Sequence[str]) -> None:
    st.session_state.update({**{key: [] for key in keys}, "text": "", "age": _AGES, "file": "any"})


def _counts(kept: pd.DataFrame, everything: int) -> None:
    counts = summaries.counts(kept)
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
