"""How far the class can be told without looking at a pixel: what a model must beat before it has seen anything.

Where a publisher shows one class only, its name is almost the label. A model that cannot beat these figures may have learned
no more than they use. Needs scikit-learn, so it runs where models are trained, not where they are served.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from covid_core.labels import COVID

BASELINES: dict[str, tuple[str, ...]] = {
    "source": ("source",),
    "view": ("view",),
    "sex, age and view": ("sex", "age", "view"),
}
"""What each baseline may know of a film: columns of `split.csv`."""
_NUMBERS = frozenset({"age"})


def pixel_free_predictions(table: pd.DataFrame, folds: ArrayLike, columns: tuple[str, ...]) -> NDArray[np.float64]:
    """P(covid) of every film from some columns of the table, by a model that never saw its fold.

    The model is a logistic regression (L2, C = 1, classes weighted equally) on one-hot categories, missing being one of
    them, and on standardised numbers with an indicator of those missing.

    Args:
        table: rows with `label` and the columns.
        folds: (n,), the fold of each row.
        columns: what the model may know.

    Returns:
        float64 (n,) in [0, 1].
    """
    fold = np.asarray(folds)
    truth = (table["label"] == COVID).to_numpy()
    known = table[list(columns)].copy()
    for name in columns:
        known[name] = known[name].astype("float64") if name in _NUMBERS else known[name].astype("object").fillna("")
    probability = np.empty(len(table))
    for held_out in np.unique(fold):
        model = make_pipeline(_encoder(columns), LogisticRegression(class_weight="balanced", max_iter=1000))
        model.fit(known[fold != held_out], truth[fold != held_out])
        probability[fold == held_out] = model.predict_proba(known[fold == held_out])[:, 1]
    return probability


def _encoder(columns: tuple[str, ...]) -> object:
    numbers = [name for name in columns if name in _NUMBERS]
    categories = [name for name in columns if name not in _NUMBERS]
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), categories),
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
    )
