"""The model in use: its choice, its cached loading, and what stands in its bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from covid_core.card_text import card_sections
from covid_core.errors import BundleError, CovidCoreError
from covid_core.evaluation.report import read_evaluation
from covid_core.evaluation.tables import interval
from covid_core.inference.bundle import KERNEL_STAGE, MANIFEST, Bundle, load_bundle
from covid_core.inference.predictor import Predictor
from covid_core.locations import model_names, models_dir
from covid_core.storage import sha256_of_file
from covid_core.ui.frame import plain, problem

KEY_FIGURES = {
    "within_source_auc": "AUC within a source",
    "roc_auc": "ROC AUC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
"""Metric of an evaluation -> a title short enough for its card, which cuts off what does not fit."""


HISTORY_COLUMNS = ("stage", "epoch", "loss", "val_loss", "auc", "val_auc", "learning_rate")


TRAIN_COMMANDS = """\
python -m covid_core fetch
python -m covid_core prepare
python -m covid_core train
python -m covid_core finetune
python -m covid_core export --out models/mobilenetv2-finetuned"""


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
    return _bundle(str(folder), _manifest_hash(folder))


def predictor_of(bundle: Bundle) -> Predictor | None:
    """The predictor of a bundle, shared by all sessions; None, with the reason shown in place, where it cannot be loaded."""
    try:
        return _predictor(str(bundle.folder), _manifest_hash(bundle.folder))
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


def history_of(bundle: Bundle) -> pd.DataFrame | None:
    """The epochs of a bundle's training; None without any, or with the reason shown where they cannot be read."""
    if bundle.manifest.get("stage") == KERNEL_STAGE:
        return None
    try:
        history = pd.read_csv(bundle.file("history.csv"))
    except (OSError, ValueError):
        history = pd.DataFrame()
    if history.empty or not set(HISTORY_COLUMNS) <= set(history.columns):
        problem(BundleError("The training curves of this bundle cannot be read. Export it anew with `export`."))
        return None
    return history


def card_of(bundle: Bundle) -> dict[str, str]:
    """The model card of a bundle by section: title -> Markdown."""
    try:
        card = bundle.file("MODEL_CARD.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return card_sections(card)


def key_figures(evaluation: Mapping[str, Any]) -> None:
    """Show sensitivity, specificity and the areas under the curve side by side, each with its interval."""
    with st.grid(4, min_column_width=180):
        for name, title in KEY_FIGURES.items():
            metric = evaluation["metrics"][name]
            bounds = interval(metric)
            st.metric(
                title,
                None if metric["value"] is None else f"{metric['value']:.2f}",
                delta=f"95% CI {bounds}" if bounds else "no interval",
                delta_color="off",
                delta_arrow="off",
                border=True,
            )


def download(bundle: Bundle, name: str, mime: str) -> None:
    """Offer a file of a bundle, or say that it is missing."""
    path = bundle.file(name)
    if not path.is_file():
        st.caption(f"{plain(name)} is missing: export the bundle anew.")
        return
    st.download_button(
        name,
        path.read_bytes(),
        file_name=f"{bundle.name}-{name}",
        mime=mime,
        icon=":material/download:",
        on_click="ignore",
        key=f"download {name}",
    )


@st.cache_resource(max_entries=8, show_spinner="Checking the model")
def _bundle(folder: str, manifest_hash: str) -> Bundle:  # noqa: ARG001  (part of the key)
    return load_bundle(Path(folder))


@st.cache_resource(max_entries=4, show_spinner="Loading the model")
def _predictor(folder: str, manifest_hash: str) -> Predictor:
    return Predictor(_bundle(folder, manifest_hash))


def _manifest_hash(folder: Path) -> str:
    try:
        return sha256_of_file(folder / MANIFEST)
    except OSError as cause:
        raise BundleError(f"There is no model bundle in {folder.name} any more: reload the page.") from cause
