"""The model in use: its choice, and what stands in its bundle, loaded once for each content of the bundle."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from covid_core.errors import BundleError, CovidCoreError
from covid_core.evaluation.evaluate import read_evaluation
from covid_core.files import sha256_of_file
from covid_core.inference.bundle import MANIFEST, Bundle, load_bundle
from covid_core.inference.gate import Gate, load_gate
from covid_core.inference.predictor import Predictor
from covid_core.paths import model_names, models_dir
from covid_core.report.build import HEADLINE, value_and_interval
from covid_core.report.record import Record, read_record
from covid_core.ui.page import plain, problem

TRAIN_COMMANDS = """\
python -m covid_core fetch
python -m covid_core prepare
python -m covid_core build
python -m covid_core gate"""
BY_CONTENT: dict[type | str, Callable[[Any], Any]] = {Bundle: lambda one: (str(one.folder), repr(one.manifest))}
"""Hashes a bundle by the SHA-256 of its files, for what Streamlit caches."""


def choose_bundle() -> Bundle | None:
    """Name the model in use in the sidebar, with a choice where there are several (kept in the address as `?model=`).

    Returns:
        The verified bundle; None, with the reason shown in place, where there is none that can be used.
    """
    names = model_names()
    if not names:
        st.warning(
            "No model is installed. Put a bundle into the folder `models`, or train one with these commands:",
            icon=":material/info:",
        )
        st.code(TRAIN_COMMANDS, language="shell", wrap_lines=True)
        return None
    with st.sidebar:
        name = st.selectbox("Model in use", names, key="model", bind="query-params", disabled=len(names) == 1)
    try:
        bundle = open_bundle(models_dir() / name)
    except CovidCoreError as error:
        problem(error)
        return None
    with st.sidebar:
        st.caption(f"Version {plain(bundle.version)}")
    return bundle


def open_bundle(folder: Path) -> Bundle:
    """Verify a bundle, once for each content of its manifest.

    Raises:
        BundleError: it is missing or is refused.
    """
    try:
        content = sha256_of_file(folder / MANIFEST)
    except OSError as cause:
        raise BundleError(f"There is no model bundle in {folder.name} any more. Reload the page.") from cause
    return _bundle(str(folder), content)


def predictor_of(bundle: Bundle) -> Predictor | None:
    """The predictor of a bundle, shared by all sessions; None, with the reason shown in place, where it cannot be loaded."""
    try:
        return _predictor(bundle)
    except CovidCoreError as error:
        problem(error)
        return None


def evaluation_of(bundle: Bundle) -> dict[str, Any] | None:
    """The evaluation of a bundle; None, with the reason shown in place, where it cannot be read."""
    try:
        return read_evaluation(bundle.file("evaluation.json"))
    except CovidCoreError as error:
        problem(error)
        return None


def key_figures(evaluation: Mapping[str, Any]) -> None:
    """Show sensitivity, specificity and the areas under the curve side by side, each with its interval."""
    with st.grid(4, min_column_width=150):
        for name, title in HEADLINE.items():
            value, bounds = value_and_interval(evaluation["metrics"][name])
            st.metric(title, value, delta=bounds, delta_color="off", delta_arrow="off", border=True)


@st.cache_resource(max_entries=8, show_spinner="Checking the model")
def _bundle(folder: str, content: str) -> Bundle:  # noqa: ARG001  (part of the key)
    return load_bundle(Path(folder))


@st.cache_resource(max_entries=4, show_spinner="Loading the model", hash_funcs=BY_CONTENT)
def _predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle)


@st.cache_resource(max_entries=8, show_spinner="Reading the figures", hash_funcs=BY_CONTENT)
def cached_record(bundle: Bundle, collection: Path | None = None) -> Record:
    """The record of a bundle; raises as `read_record` does."""
    return read_record(bundle, collection)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=BY_CONTENT)
def cached_gate(bundle: Bundle) -> Gate | None:
    """The gate of a bundle; raises as `load_gate` does."""
    path = bundle.optional_file("gate.npz")
    return None if path is None else load_gate(path)
