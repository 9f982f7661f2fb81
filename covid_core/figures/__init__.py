"""Numbers to plotly figures: pure functions, nothing is shown and nothing is computed that a report could state."""

from covid_core.figures.dataset import counts_bar, flow, stacked_counts
from covid_core.figures.evaluation import confusion, reliability, roc, training_curves
from covid_core.figures.film import probability_scale
from covid_core.figures.frame import CLASS_COLOURS, NEUTRAL, framed
from covid_core.figures.post_test import people_bars, post_test_curve

__all__ = [
    "CLASS_COLOURS",
    "NEUTRAL",
    "confusion",
    "counts_bar",
    "flow",
    "framed",
    "people_bars",
    "post_test_curve",
    "probability_scale",
    "reliability",
    "roc",
    "stacked_counts",
    "training_curves",
]
