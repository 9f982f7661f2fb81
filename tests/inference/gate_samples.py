"""A gate on feature maps of 2 x 2 cells and four channels, whose answers can be worked out by hand."""

import numpy as np

from covid_core.inference.gate import Gate, signature, unit

QUARTERS_LEFT = {"turn_left": 1, "turn_around": 2, "turn_right": 3}
HEAD = np.array([[1, 1], [0, 0]], np.float32)
"""Where the head is in the four fields of an upright image."""
INVERSION = np.array([1, -1, 1, 1], np.float32)
"""What inverting the greys does to the channels: the head is as far below as it was above."""


def image_map(*, turned=0, inverted=False, lateral=0.0, strange=0.0):
    """A feature map (2, 2, 4): lungs everywhere, the head where it lies, what only a lateral image has, what no image has."""
    head = np.rot90(HEAD, turned) * (-1 if inverted else 1)
    return np.dstack([np.full((2, 2), v, np.float32) if np.isscalar(v) else v for v in (1.0, head, lateral, strange)])


def pose_kernel():
    """For each pose the places of the head that speak for it, in the order of the four fields and, within, of the channels."""
    kernel = np.zeros((4, 4, 6), np.float32)
    for number, quarters in enumerate((0, 2, 1, 3)):
        kernel[:, 1, number] = 20 * np.rot90(HEAD, quarters).ravel()
    kernel[:, 1, 4] = -20
    kernel[:, 2, 5] = 40
    return kernel.reshape(16, 6)


def child_kernel():
    """What speaks for a child: the last channel, the same in every field."""
    kernel = np.zeros((4, 4), np.float32)
    kernel[:, 3] = 3
    return kernel.ravel()


POSES = np.array(["upright", "upside_down", "turned_left", "turned_right", "negative", "lateral"])


def some_gate(**others):
    """A gate that knows seven upright images, the second half of which the model was not fitted on."""
    images = [image_map(strange=0.02 * number) for number in range(7)]
    arrays = {
        "references": np.stack([unit(signature(image, 2)[0]) for image in images]),
        "filenames": np.array([f"{number}.png" for number in range(7)]),
        "patientids": np.array([f"p{number}" for number in range(7)]),
        "labels": np.array(["covid", "non_covid"] * 3 + ["covid"]),
        "sources": np.array(["a.example"] * 6 + [""]),
        "fitted": np.arange(7) < 4,
        "limit": np.array([0.5], np.float32),
        "pose_kernel": pose_kernel(),
        "pose_bias": np.zeros(6, np.float32),
        "poses": POSES,
        "upright_limit": np.array([0.5], np.float32),
        "lateral_limit": np.array([0.9], np.float32),
        "child_kernel": child_kernel(),
        "child_bias": np.array([-2], np.float32),
        "child_limit": np.array([0.5], np.float32),
    }
    return Gate(**(arrays | others))
