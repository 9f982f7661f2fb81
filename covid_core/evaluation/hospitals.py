"""Figures on hospitals, and on kinds of images, that the model judged never saw.

AUCs compare only pairs of images of one hospital group: a model that recognises the hospital earns nothing. Beside them stand the
same within one original pixel size, as the equipment tells the classes apart as well, and what the size alone tells.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from covid_core.evaluation import intervals, metrics
from covid_core.evaluation.calibration import expected_calibration_error, reliability_bins
from covid_core.evaluation.estimates import area_metrics, threshold_metrics
from covid_core.evaluation.predictions import Predictions

TYPICAL, NEGATIVE = "typical", "negative"


def hospital_block(table: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """Typical appearance of COVID-19 against negative for pneumonia, each image judged by a network that never saw its group.

    The table has one row an image of the left-out groups with `appearance` (`typical` or `negative`), `site`, `group`,
    `original_width`, `original_height`, `probability_covid` and, of another model for comparison, `former` or NaN.

    Returns:
        `images`, `patients`, metrics `roc_auc` (pairs within a group), `same_size_auc`, `sensitivity`, `specificity`; `ece`;
        `pooled_auc`; `size_alone`: `roc_auc`, `same_size_auc`; `groups`: one row each; `former`: the metrics of the other model.
    """
    sites = table["site"].to_numpy(np.str_)
    width, height = (table[f"original_{side}"].astype("str").fillna("") for side in ("width", "height"))
    size = (width + "x" + height).to_numpy(np.str_)  # a missing value would cut every text to one letter
    size[table["original_width"].isna().to_numpy()] = ""
    same_size = np.where(size == "", "", np.char.add(np.char.add(sites, " "), size))
    images = _predictions(table, table["probability_covid"].to_numpy(float), sites, threshold)
    found = _figures(images, same_size)
    bins = reliability_bins(images.truth, images.probability, prevalence=0.5)
    alone = _figures(_predictions(table, size_alone(table), sites, 0.5), same_size)
    block = {
        "images": len(table),
        "patients": int(table["group"].nunique()),
        "covid": int(images.truth.sum()),
        **found,
        "pooled_auc": metrics.roc_auc(images.truth, images.probability),
        "ece": expected_calibration_error(bins),
        "size_alone": {name: alone[name] for name in ("roc_auc", "same_size_auc")},
        "groups": [
            {
                "site": site,
                "images": int(inside.sum()),
                "covid": int(images.truth[inside].sum()),
                **_figures(
                    _predictions(table[inside], images.probability[inside], sites[inside], threshold),
                    same_size[inside],
                ),
            }
            for site in np.unique(sites)
            for inside in [sites == site]
        ],
    }
    if "former" in table and table["former"].notna().all():
        former = _predictions(table, table["former"].to_numpy(float), sites, float(table["former_threshold"].iloc[0]))
        block["former"] = _figures(former, same_size)
    return block


def size_alone(table: pd.DataFrame) -> NDArray[np.float64]:
    """P(typical) from the original size alone, by a logistic regression that never saw its hospital group: float64 (n,)."""
    sizes = np.log(table[["original_width", "original_height"]].to_numpy(float))
    known = np.nan_to_num(sizes, nan=float(np.nanmedian(sizes)))
    facts = np.column_stack([known, known[:, 0] - known[:, 1], np.square(known[:, 0]), np.isnan(sizes[:, 0])])
    truth, sites = (table["appearance"] == TYPICAL).to_numpy(), table["site"].to_numpy(np.str_)
    probability = np.full(len(table), 0.5)
    for site in np.unique(sites):
        held = sites == site
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        model.fit(facts[~held], truth[~held])
        probability[held] = model.predict_proba(facts[held])[:, 1]
    return probability


def called_block(table: pd.DataFrame, threshold: float) -> list[dict[str, Any]]:
    """How many images of each `kind` are called COVID-19, by a network that never saw their collection.

    One row a kind: `kind`, `images`, the metric `called_covid` and, where the table has `former` and `former_threshold` of
    another model, its `former`.
    """
    rows = []
    for kind, images in table.groupby("kind", sort=True):
        row = {"kind": kind, "images": len(images), "called_covid": _share(images["probability_covid"], threshold)}
        if "former" in images and images["former"].notna().all():
            row["former"] = _share(images["former"], float(images["former_threshold"].iloc[0]))
        rows.append(row)
    return rows


def _share(probability: "pd.Series[float]", threshold: float) -> dict[str, Any]:
    called = metrics.is_called(probability.to_numpy(float), threshold)
    return intervals.wilson(int(called.sum()), len(called)).to_json()


def _predictions(
    table: pd.DataFrame, probability: NDArray[np.float64], strata: NDArray[np.str_], threshold: float
) -> Predictions:
    groups = table["group"].to_numpy(np.str_)
    return Predictions(
        truth=(table["appearance"] == TYPICAL).to_numpy(),
        called=metrics.is_called(probability, threshold),
        probability=probability,
        groups=groups,
        patients=groups,
        sources=strata,
        prevalence=0.5,
    )


def _figures(images: Predictions, same_size: NDArray[np.str_]) -> dict[str, Any]:
    calls = threshold_metrics(images, n_resamples=2000, seed=0)
    within = area_metrics(images, n_resamples=500, seed=0)["within_source_auc"]
    within_size = area_metrics(replace(images, sources=same_size), n_resamples=500, seed=0)["within_source_auc"]
    return {
        "roc_auc": within.to_json(),
        "same_size_auc": within_size.to_json(),
        "sensitivity": calls["sensitivity"].to_json(),
        "specificity": calls["specificity"].to_json(),
    }
