"""What a bundle holds beside the model: everything that a report is made of, read once and checked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.dataset.descriptions import described
from covid_core.errors import CovidCoreError, EvaluationError
from covid_core.evaluation.evaluate import held_out_images, read_evaluation
from covid_core.evaluation.predictions import REQUIRED_COLUMNS, Predictions, checked_table
from covid_core.inference.bundle import CHEST_STAGE, Bundle, load_bundle
from covid_core.paths import model_names, models_dir
from covid_core.text import card_sections

HISTORY_COLUMNS = ("stage", "epoch", "loss", "val_loss", "auc", "val_auc", "learning_rate")


@dataclass(frozen=True)
class Record:
    """The files of a bundle, read.

    `predictions` are those that the evaluation rests on, `patientid` and `group` as text, with `DESCRIPTION_COLUMNS` where the
    collection was at hand. `history` holds the epochs; it is None for a model that was not trained by epochs, and where it cannot
    be read, as `history_problem` says. `card` maps the sections of the model card to their Markdown.
    """

    name: str
    version: str
    manifest: dict[str, Any]
    evaluation: dict[str, Any]
    predictions: pd.DataFrame
    history: pd.DataFrame | None
    history_problem: str | None
    card: dict[str, str]

    def images(self) -> Predictions:
        """The images of the evaluation as arrays, called at its threshold."""
        return held_out_images(self.evaluation, self.predictions)


def read_record(bundle: Bundle, collection: Path | None = None) -> Record:
    """Read what a verified bundle holds beside the model; the folder of a collection describes its images.

    DatasetError where the collection cannot be read, EvaluationError where the evaluation and its predictions cannot, or do not
    fit each other.
    """
    evaluation = read_evaluation(bundle.file("evaluation.json"))
    history, problem = _history(bundle)
    predictions = _predictions(bundle, evaluation)
    if collection is not None:
        known = described(predictions["filename"].tolist(), collection)
        predictions = predictions.drop(columns=list(known.columns), errors="ignore").join(known)
    name, version, card = bundle.name, bundle.version, _card(bundle)
    return Record(name, version, bundle.manifest, evaluation, predictions, history, problem, card)


def read_others(
    name: str, read: Callable[[str], Record] = lambda name: read_record(load_bundle(models_dir() / name))
) -> tuple[tuple[Record, ...], dict[str, CovidCoreError]]:
    """Read the records of all models but this one, to compare it with them.

    Returns:
        The records in the order of `model_names`, and the name of each model that cannot be read -> why.
    """
    records, unread = [], {}
    for other in model_names():
        if other == name:
            continue
        try:
            records.append(read(other))
        except CovidCoreError as error:
            unread[other] = error
    return tuple(records), unread


def _predictions(bundle: Bundle, evaluation: dict[str, Any]) -> pd.DataFrame:
    path = bundle.file("predictions.csv")
    try:
        table = pd.read_csv(path, dtype={"patientid": "str", "group": "str"})
    except (OSError, ValueError) as cause:
        raise EvaluationError(f"{path.name} of {bundle.name} cannot be read: {cause}. Export it again.") from cause
    chosen = checked_table(table, REQUIRED_COLUMNS, part=evaluation["part"]).reset_index(drop=True)
    if len(chosen) != evaluation["counts"]["images"]:
        raise EvaluationError(
            f"{path.name} of {bundle.name} has {len(chosen)} images where its evaluation has {evaluation['counts']['images']}. "
            f"Evaluate it again: `python -m covid_core evaluate --model {bundle.name}`."
        )
    return chosen


def _history(bundle: Bundle) -> tuple[pd.DataFrame | None, str | None]:
    if bundle.manifest.get("stage") == CHEST_STAGE:
        return None, None
    try:
        history = pd.read_csv(bundle.file("history.csv"))
    except (OSError, ValueError):
        history = pd.DataFrame()
    if history.empty or not set(HISTORY_COLUMNS) <= set(history.columns):
        return None, "The training curves of this model cannot be read. Export it again with `export`."
    return history, None


def _card(bundle: Bundle) -> dict[str, str]:
    try:
        return card_sections(bundle.file("MODEL_CARD.md").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
