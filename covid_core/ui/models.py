"""The model in use: its choice, its cached loading, and what stands in its bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from covid_core.errors import BundleError, CovidCoreError
from covid_core.evaluation.evaluate import read_evaluation
from covid_core.files import sha256_of_file
from covid_core.inference.bundle import MANIFEST, Bundle, load_bundle
from covid_core.inference.predictor import Predictor
from covid_core.paths import model_names, models_dir
from covid_core.report.build import HEADLINE, value_and_interval
from covid_core.ui.page import offer, plain, problem

TRAIN_COMMANDS = """\
python -m covid_core fetch
python -m covid_core prepare
python -m covid_core build
python -m covid_core gate"""


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
    return _bundle(str(folder), manifest_hash(folder))


def predictor_of(bundle: Bundle) -> Predictor | None:
    """The predictor of a bundle, shared by all sessions; None, with the reason shown in place, where it cannot be loaded."""
    try:
        return _predictor(str(bundle.folder), manifest_hash(bundle.folder))
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
            st.metric(
                title,
                value,
                delta=bounds,
                delta_color="off",
                delta_arrow="off",
                border=True,
            )


def download(bundle: Bundle, name: str, mime: str) -> None:
    """Offer a file of a bundle, or say that it is missing."""
    path = bundle.file(name)
    if not path.is_file():
        st.caption(f"{plain(name)} is missing: export the bundle again.")
        return
    offer(name, path.read_bytes, f"{bundle.name}-{name}", mime)


@st.cache_resource(max_entries=8, show_spinner="Checking the model")
def _bundle(folder: str, content: str) -> Bundle:  # noqa: ARG001  (part of the key)
    return load_bundle(Path(folder))


@st.cache_resource(max_entries=4, show_spinner="Loading the model")
def _predictor(folder: str, content: str) -> Predictor:
    return Predictor(_bundle(folder, content))


def manifest_hash(folder: Path) -> str:
    """What tells one content of a bundle from another.

    Raises:
        BundleError: the bundle is gone.
    """
    try:
        return sha256_of_file(folder / MANIFEST)
    except OSError as cause:
        raise BundleError(f"There is no model bundle in {folder.name} any more. Reload the page.") from cause
