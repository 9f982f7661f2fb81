"""Numbers to plotly figures: pure functions, nothing is shown and nothing is computed that a report could state."""

from covid_core.figures.dataset import counts_bar, flow, stacked_counts
from covid_core.figures.discrimination import precision_recall, roc, roc_overlay, score_histogram
from covid_core.figures.evaluation import confusion, reliability, training_curves
from covid_core.figures.explorer import answers, columns, country_map, finding_treemap, missing_map, pyramid
from covid_core.figures.groups import AreaRow, ForestRow, areas, distributions, forest
from covid_core.figures.post_test import people_bars, post_test_curve
from covid_core.figures.prediction import probability_scale
from covid_core.figures.theme import CLASS_COLOURS, NEUTRAL, framed
from covid_core.figures.usefulness import decision_curve, predictive_values

__all__ = [
    "CLASS_COLOURS",
    "NEUTRAL",
    "AreaRow",
    "ForestRow",
    "answers",
    "areas",
    "columns",
    "confusion",
    "country_map",
    "counts_bar",
    "decision_curve",
    "distributions",
    "finding_treemap",
    "flow",
    "forest",
    "framed",
    "missing_map",
    "people_bars",
    "post_test_curve",
    "precision_recall",
    "predictive_values",
    "probability_scale",
    "pyramid",
    "reliability",
    "roc",
    "roc_overlay",
    "score_histogram",
    "stacked_counts",
    "training_curves",
]
