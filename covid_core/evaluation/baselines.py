"""Baselines that predict the class from metadata, without a pixel.

Where a publisher shows one class only, its name is almost the label, and the size and type of its files tell its name. A model
that cannot beat these figures may have learned no more than they use.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from covid_core.errors import EvaluationError
from covid_core.labels import COVID

BASELINES: dict[str, tuple[str, ...]] = {
    "source": ("source",),
    "view": ("view",),
    "sex, age and view": ("sex", "age", "view"),
    "image size and file type": ("width", "height", "file_type"),
    "source, sex, age, view, image size and file type": (
        "source",
        "view",
        "sex",
        "age",
        "width",
        "height",
        "file_type",
    ),
}
"""What each baseline may know of an image: columns of `split.csv`; `width` and `height` in pixels, `file_type` a name."""
_NUMBERS = frozenset({"age", "log width", "log height", "aspect ratio"})


def pixel_free_predictions(table: pd.DataFrame, folds: ArrayLike, columns: tuple[str, ...]) -> NDArray[np.float64]:
    """P(covid) of every image from some columns of the table, by a model that never saw its fold (n,): float64 (n,) in [0, 1].

    The model is a logistic regression (L2, C = 1, classes weighted equally) on one-hot categories, missing being one of
    them, and on standardised numbers with an indicator of those missing. Of `width` and `height`, given together, it gets the
    logarithms and the ratio. EvaluationError where the table lacks `label` or a column.
    """
    missing = [name for name in ("label", *columns) if name not in table.columns]
    if missing:
        raise EvaluationError(
            f"A baseline needs the columns {', '.join(missing)}. Received: {', '.join(map(str, table.columns))}"
        )
    fold = np.asarray(folds)
    truth = (table["label"] == COVID).to_numpy()
    known = _known(table, columns)
    probability = np.empty(len(table))
    for held_out in np.unique(fold):
        model = make_pipeline(
            _encoder(tuple(known.columns)), LogisticRegression(class_weight="balanced", max_iter=1000)
        )
        model.fit(known[fold != held_out], truth[fold != held_out])
        probability[fold == held_out] = model.predict_proba(known[fold == held_out])[:, 1]
    return probability


def _known(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """What the model gets of the columns: numbers as float64, categories as text with missing ones empty."""
    known = table[list(columns)].copy()
    if {"width", "height"} <= set(columns):
        width, height = (known.pop(name).astype("float64") for name in ("width", "height"))
        # In logarithms, half and double the size are equally far away.
        known["log width"], known["log height"], known["aspect ratio"] = np.log(width), np.log(height), width / height
    for name in known.columns:
        known[name] = known[name].astype("float64") if name in _NUMBERS else known[name].astype("object").fillna("")
    return known


def _encoder(columns: tuple[str, ...]) -> object:
    numbers = [name for name in columns if name in _NUMBERS]
    categories = [name for name in columns if name not in _NUMBERS]
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), categories),
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
    )
