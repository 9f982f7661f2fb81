"""The rules of the cohort builder: their controls, and how session and address keep them.

The session holds one choice of rules, whichever section is shown; the address says what differs from the defaults. Knows
nothing of films or tables.
"""

import re

import streamlit as st

from covid_core.data.cohort import Ambiguous, CohortRules
from covid_core.data.prepare import PlanRules
from covid_core.ui.address import asks_anew, write

AMBIGUOUS: dict[Ambiguous, str] = {"drop": "leave out", "non_covid": "as labelled", "covid": "as COVID-19"}
MAX_SEED = 2**32 - 1
"""The largest that the command line takes."""

_CHOSEN = "cohort_rules"
_AMBIGUOUS, _SUPINE, _SHARES, _SEED = "cohort_ambiguous", "cohort_supine", "cohort_shares", "cohort_seed"
_IN_ADDRESS = ("ambiguous", "supine", "shares", "seed")
_PERCENTS = re.compile(r"([1-9]\d?)-([1-9]\d?)-([1-9]\d?)", re.ASCII)
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
_LEAST = 1  # percent of the films that a part gets at least
_WHOLE = 100


def chosen_rules() -> PlanRules:
    """The rules chosen at present, whether their controls are shown or not; the address follows them."""
    asked = _from_address()
    chosen: PlanRules = asked if asks_anew(_CHOSEN, asked, PlanRules()) else st.session_state.get(_CHOSEN, asked)
    st.session_state[_CHOSEN] = chosen
    write(_CHOSEN, chosen, _to_address(chosen), _IN_ADDRESS)
    return chosen


def rule_controls() -> PlanRules:
    """Show the rules as controls, and give what they are set to."""
    rules = chosen_rules()
    _put(rules)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "No Finding in a patient who has COVID-19 elsewhere",
            list(AMBIGUOUS),
            required=True,
            format_func=lambda choice: AMBIGUOUS[choice],
            key=_AMBIGUOUS,
            on_change=_take,
        )
        st.toggle("Add AP Supine films where others are few", key=_SUPINE, on_change=_take)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=360):
            st.slider(
                "Parts: training up to the first handle, validation up to the second, test the rest",
                _LEAST,
                _WHOLE - _LEAST,
                key=_SHARES,
                format="%d %%",
                on_change=_take,
            )
        st.number_input(
            "Seed",
            0,
            MAX_SEED,
            step=1,
            key=_SEED,
            on_change=_take,
            width=150,
            help="Another number gives another split by the same rules; the same number always gives the same one.",
        )
        st.button(
            "Back to the defaults",
            icon=":material/restart_alt:",
            type="tertiary",
            key="cohort_defaults",
            disabled=rules == PlanRules(),
            on_click=_choose,
            args=(PlanRules(),),
        )
    train, val, test = _percents(rules)
    st.caption(
        f"Training {train} %, validation {val} %, test {test} % of the films of each class, patients kept whole."
    )
    return rules


def _choose(rules: PlanRules) -> None:
    st.session_state[_CHOSEN] = rules


def _take() -> None:
    """Take over what the controls are set to; a part of nothing gets the smallest share instead."""
    state = st.session_state
    first, second = state[_SHARES]
    if second - first < _LEAST:
        first = min(first, _WHOLE - 2 * _LEAST)
        second = first + _LEAST
    _choose(
        PlanRules(
            CohortRules(ambiguous=state[_AMBIGUOUS], include_supine=state[_SUPINE]),
            _fractions(first, second - first, _WHOLE - second),
            state[_SEED],
        )
    )


def _put(rules: PlanRules) -> None:
    """Set the controls, but those that are as they should be: each that is set anew is sent to the browser again."""
    train, val, _ = _percents(rules)
    values = {
        _AMBIGUOUS: rules.cohort.ambiguous,
        _SUPINE: rules.cohort.include_supine,
        _SHARES: (train, train + val),
        _SEED: rules.seed,
    }
    for key, value in values.items():
        if st.session_state.get(key) != value:
            st.session_state[key] = value


def _percents(rules: PlanRules) -> tuple[int, int, int]:
    train, val, test = (round(_WHOLE * share) for share in rules.fractions)
    return train, val, test


def _fractions(train: int, val: int, test: int) -> tuple[float, float, float]:
    return train / _WHOLE, val / _WHOLE, test / _WHOLE


def _from_address() -> PlanRules:
    """What the address asks for; what is no rule is passed over."""
    asked = {key: st.query_params.get(key, "") for key in _IN_ADDRESS}
    default = PlanRules()
    ambiguous: Ambiguous = next((one for one in AMBIGUOUS if one == asked["ambiguous"]), default.cohort.ambiguous)
    shares, fractions = _PERCENTS.fullmatch(asked["shares"]), default.fractions
    if shares is not None:
        train, val, test = map(int, shares.groups())
        fractions = _fractions(train, val, test) if train + val + test == _WHOLE else fractions
    seed = int(asked["seed"]) if _NUMBER.fullmatch(asked["seed"]) else default.seed
    return PlanRules(
        CohortRules(ambiguous=ambiguous, include_supine=asked["supine"] != "no"),
        fractions,
        seed if seed <= MAX_SEED else default.seed,
    )


def _to_address(rules: PlanRules) -> dict[str, list[str]]:
    """What differs from the defaults."""
    default = PlanRules()
    query = {
        "ambiguous": (rules.cohort.ambiguous, default.cohort.ambiguous),
        "supine": ("yes" if rules.cohort.include_supine else "no", "yes"),
        "shares": ("-".join(map(str, _percents(rules))), "-".join(map(str, _percents(default)))),
        "seed": (str(rules.seed), str(default.seed)),
    }
    return {key: [value] for key, (value, usual) in query.items() if value != usual}
