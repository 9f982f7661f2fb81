"""How much an answer depends on what should not matter: each harmless change alone, at a fixed strength."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covid_core.evaluation import metrics
from covid_core.images import changes

Grey = NDArray[np.uint8]
Change = Callable[[Grey, np.random.Generator], Grey]

CHANGES: dict[str, Change] = {
    "two arrows drawn in": lambda image, rng: changes.draw_arrows(image, rng, 2),
    "letters and markers": lambda image, rng: changes.draw_letters(image, rng, 3),
    "four electrodes with leads": lambda image, rng: changes.draw_electrodes(image, rng, 4),
    "5% cut off each side": lambda image, _: changes.crop(image, 0.05),
    "black border of 5%": lambda image, _: changes.add_border(image, 0.05),
    "white border of 5%": lambda image, _: changes.add_border(image, 0.05, 255),
    "rotated by 5 degrees": lambda image, rng: changes.rotate(image, float(rng.choice([-5, 5]))),
    "blurred (0.4% of the side)": lambda image, _: changes.blur(image, 4),
    "JPEG, quality 40": lambda image, _: changes.compress(image, 40),
    "gamma 0.8": lambda image, _: changes.adjust_gamma(image, 0.8),
    "gamma 1.25": lambda image, _: changes.adjust_gamma(image, 1.25),
    "reduced to 160 pixels": lambda image, _: changes.shrink(image, 160),
    "mirrored": lambda image, _: np.ascontiguousarray(image[:, ::-1]),
}


def robustness_block(
    truth: NDArray[np.bool_],
    unchanged: NDArray[np.float64],
    changed: dict[str, NDArray[np.float64]],
    threshold: float,
) -> dict[str, Any]:
    """Compare the calls at a threshold on changed images (name -> P (n,)) with those on the same images as they are.

    `images`, `sensitivity`, `specificity` are those as they are. `changes` has one row each with `change`, `flipped` (share of
    calls that differ), the differences of `sensitivity` and `specificity`, and `mean_difference` of P.
    """
    before = metrics.is_called(unchanged, threshold)

    def rates(called: NDArray[np.bool_]) -> tuple[float, float]:
        return float(called[truth].mean()), float(1 - called[~truth].mean())

    sensitivity, specificity = rates(before)
    rows = []
    for name, probability in changed.items():
        called = metrics.is_called(probability, threshold)
        found, spared = rates(called)
        rows.append(
            {
                "change": name,
                "flipped": float(np.mean(called != before)),
                "sensitivity": found - sensitivity,
                "specificity": spared - specificity,
                "mean_difference": float(np.abs(probability - unchanged).mean()),
            }
        )
    return {"images": len(truth), "sensitivity": sensitivity, "specificity": specificity, "changes": rows}
