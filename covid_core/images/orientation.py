"""An image that lies wrong, put right: turned by quarters, or its greys inverted."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from covid_core.images.types import GreyImage

Repair = Literal["turn_right", "turn_left", "turn_around", "invert"]
REPAIR_TITLES: dict[Repair, str] = {
    "turn_right": "turned right",
    "turn_left": "turned left",
    "turn_around": "turned around",
    "invert": "inverted",
}
"""Repair -> what was done, as a participle. Right is clockwise."""
QUARTERS_LEFT: dict[Repair, int] = {"turn_left": 1, "turn_around": 2, "turn_right": 3}
"""Repair -> quarter turns anticlockwise; an inversion is none."""


def repaired(image: GreyImage, repairs: Sequence[Repair]) -> GreyImage:
    """Apply repairs in order to float32 (height, width) in [0, 1]; quarter turns swap height and width."""
    for repair in repairs:
        image = 1 - image if repair == "invert" else np.rot90(image, QUARTERS_LEFT[repair])
    return np.ascontiguousarray(image)


def shortest(repairs: Sequence[Repair]) -> tuple[Repair, ...]:
    """The fewest repairs that do the same: at most one turn and one inversion, none where they cancel."""
    quarters = sum(QUARTERS_LEFT.get(repair, 0) for repair in repairs) % 4
    turns: list[Repair] = [repair for repair, count in QUARTERS_LEFT.items() if count == quarters]
    inverted: list[Repair] = ["invert"] if repairs.count("invert") % 2 else []
    return (*turns, *inverted)
