"""Metadata-only baselines through the folds of a dataset, to stand beside a cross-validated model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.dataset.prepare import read_split, split_image_paths
from covid_core.evaluation.baselines import BASELINES, pixel_free_predictions
from covid_core.evaluation.external import paired_metrics
from covid_core.images.decode import probe


def pixel_free_baselines(dataset: Path, folds: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """ROC AUC, with its interval, of each baseline through the folds (`filename` and `fold`) of a prepared dataset.

    name of the baseline -> `roc_auc` and, where it means something, `within_source_auc`.
    """
    table = read_split(dataset)
    facts = image_facts(split_image_paths(dataset))
    table = table.join(facts.set_index(table.index)).merge(folds, on="filename")
    found = {}
    for name, columns in BASELINES.items():
        guessed = table.assign(probability_covid=pixel_free_predictions(table, table["fold"], columns))
        areas = paired_metrics(guessed)
        # Within a source its name is the same for all: 0.5 by definition.
        wanted = ("roc_auc",) if columns == ("source",) else ("roc_auc", "within_source_auc")
        found[name] = {metric: areas[metric] for metric in wanted}
    return found


def image_facts(paths: Sequence[Path]) -> pd.DataFrame:
    """`width` and `height` in pixels and `file_type` of image files, one row each; ImageRefusedError for one that is no image."""
    return pd.DataFrame([probe(path) for path in paths], columns=["width", "height", "file_type"])
