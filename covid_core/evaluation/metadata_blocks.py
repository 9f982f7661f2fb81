"""The blocks `subgroups` and `cohort` of an evaluation, joined from the collection's metadata.

The metadata have a licence of their own: only counts and figures of them are kept in a bundle.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.dataset.descriptions import DESCRIPTION_COLUMNS, described
from covid_core.dataset.prepare import FLOW_NAME, read_split
from covid_core.errors import DatasetError
from covid_core.evaluation.cohort_figures import cohort_block
from covid_core.evaluation.subgroups import subgroup_block
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.files import read_json


def whom_blocks(
    predictions: pd.DataFrame, evaluation: dict[str, Any], dataset: Path | None, collection: Path | None
) -> dict[str, Any]:
    """Measure the blocks `subgroups` and `cohort` of the predictions' evaluation; none where neither folder is given.

    Without the prepared dataset that the model was trained on there is no `cohort`. The collection is the folder with
    metadata.csv that it was prepared from, which knows more of the images. DatasetError where one of them cannot be read.
    """
    if dataset is None and collection is None:
        return {}
    split = None if dataset is None else read_split(dataset)
    blocks: dict[str, Any] = {
        "subgroups": subgroup_block(
            _with_description(predictions, split, collection),
            part=evaluation["part"],
            threshold=evaluation["threshold"],
            prevalence=evaluation["reliability"]["prevalence"],
            n_resamples=evaluation["bootstrap"]["resamples"],
            seed=evaluation["bootstrap"]["seed"],
        )
    }
    if dataset is not None and split is not None:
        blocks["cohort"] = _cohort(predictions, evaluation["part"], dataset, split)
    return blocks


def _with_description(predictions: pd.DataFrame, split: pd.DataFrame | None, collection: Path | None) -> pd.DataFrame:
    """The predictions, and beside each what the collection says of the image, else the split."""
    names = predictions["filename"].tolist()
    sources = [] if collection is None else [described(names, collection)]
    if split is not None:
        sources.append(split.set_index("filename").reindex(names).reset_index(drop=True))
    known = {name: _first_known(name, sources) for name in DESCRIPTION_COLUMNS}
    return predictions.reset_index(drop=True).assign(**known)


def _first_known(name: str, sources: Sequence[pd.DataFrame]) -> "pd.Series[Any]":
    """A column of the first table that has a value, image by image."""
    known = pd.Series(pd.NA, index=sources[0].index, dtype="object")
    for source in sources:
        if name in source.columns:
            known = known.where(known.notna(), source[name].astype("object"))
    return known


def _cohort(predictions: pd.DataFrame, part: str, dataset: Path, split: pd.DataFrame) -> dict[str, Any]:
    account = read_json(dataset / FLOW_NAME, DatasetError) if (dataset / FLOW_NAME).is_file() else {}
    folds = None
    if part == OUT_OF_FOLD and "fold" in predictions.columns:
        folds = split["filename"].map(predictions.set_index("filename")["fold"])
    return cohort_block(split, account.get("flow", []), account.get("overlap"), folds=folds)
