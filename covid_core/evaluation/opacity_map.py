"""How well a map of opacities agrees with the boxes that radiologists drew, on images whose patients the network never saw.

- pointing game (Zhang et al. 2018, https://doi.org/10.1007/s11263-017-1059-x): how often the strongest cell lies in a box;
- cell AUC: the ROC AUC of the map's cells against cells that are more than half in a box;
- overlap: the Dice coefficient of the cells above the threshold with the cells in a box;
- share of the lungs: cells above the threshold that are lung, against cells in a box that are lung, each weighted by how much
  lung they hold. A box is larger than the opacity in it, so the share is of the area that a radiologist would box.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from covid_core.evaluation import metrics
from covid_core.evaluation.intervals import cluster_bootstrap

Floats = NDArray[np.float32]


def affected_share(opacities: Floats, lungs: Floats, threshold: float) -> NDArray[np.float64]:
    """The share of the lungs that lies in cells with an opacity above the threshold: float64 (...) in [0, 1], 0 without lungs.

    Both maps are float32 (..., h, w) in [0, 1]; `lungs` is how much of each cell is lung.
    """
    lung = lungs.astype(np.float64)
    total = lung.sum(axis=(-2, -1))
    inside = (lung * (opacities > threshold)).sum(axis=(-2, -1))
    return np.asarray(np.divide(inside, total, out=np.zeros_like(inside), where=total > 0))


def choose_threshold(opacities: Floats, boxes: Floats) -> float:
    """The threshold, of 0.05 to 0.95, with the highest Dice coefficient over all cells of images (n, h, w)."""
    truth = boxes > 0.5  # noqa: PLR2004  more than half of the cell
    candidates = np.arange(0.05, 0.96, 0.05)
    dice = [2 * ((opacities > t) & truth).sum() / max((opacities > t).sum() + truth.sum(), 1) for t in candidates]
    return float(round(candidates[int(np.argmax(dice))], 2))


def opacity_map_block(
    opacities: Floats, boxes: Floats, lungs: Floats, groups: NDArray[np.str_], threshold: float
) -> dict[str, Any]:
    """Measure maps float32 (n, h, w) in [0, 1] against boxes and lungs, the shares of each cell in them; every image has a box.

    Returns:
        `images`, `patients`, `threshold`; metrics `pointing_game`, `dice` and `share_error` (the mean absolute error of the share
        of the lungs) with intervals by resampling patients (`groups`); `cell_auc`; `mean_share` and `mean_share_in_boxes`.
    """
    n = len(opacities)
    truth, seen = boxes > 0.5, opacities > threshold  # noqa: PLR2004
    flat = opacities.reshape(n, -1)
    hit = truth.reshape(n, -1)[np.arange(n), flat.argmax(axis=1)].astype(float)
    sizes = seen.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))
    dice = 2 * (seen & truth).sum(axis=(1, 2)) / np.maximum(sizes, 1)
    share = affected_share(opacities, lungs, threshold)
    boxed = affected_share(boxes, lungs, 0.5)
    figures = {"pointing_game": hit, "dice": dice, "share_error": np.abs(share - boxed)}

    def means(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {name: weights @ values / weights.sum(axis=1) for name, values in figures.items()}

    found = cluster_bootstrap(means, groups, n_resamples=2000, seed=0)
    return {
        "images": n,
        "patients": int(np.unique(groups).size),
        "threshold": threshold,
        **{name: estimate.to_json() for name, estimate in found.items()},
        "cell_auc": metrics.roc_auc(truth.ravel(), flat.ravel()),
        "mean_share": float(share.mean()),
        "mean_share_in_boxes": float(boxed.mean()),
    }
