"""Why: the exact Grad-CAM of P(covid), without gradients, and its drawing over the film.

Behind global average pooling the derivative of the logit with respect to a cell of the feature map is the same in every cell:
`W1 diag(h > 0) w2 / cells` for a hidden layer `h = relu(W1' mean(A) + b1)` and an output `w2' h + b2`. So the weights of
Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391) have a closed form.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from covid_core.errors import BundleError
from covid_core.images.decode import GreyImage

# Five anchors of matplotlib's "inferno" (CC0): perceptually even, and readable with any colour vision.
_INFERNO = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)


@dataclass(frozen=True)
class Head:
    """The layers behind the pooling.

    Attributes:
        hidden_kernel: float32 (c, u).
        hidden_bias: float32 (u,).
        output_kernel: float32 (u, 1).
        output_bias: float32 (1,).
    """

    hidden_kernel: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output_kernel: NDArray[np.float32]
    output_bias: NDArray[np.float32]


def load_head(path: Path) -> Head:
    """Read `head.npz` of a bundle.

    Raises:
        BundleError: the file is not one.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return Head(**{name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as cause:
        raise BundleError(f"{path} does not hold the head's weights: {cause}.") from cause


def grad_cam(features: NDArray[np.float32], head: Head) -> NDArray[np.float32]:
    """Where the film raised P(covid).

    Args:
        features: float32 (h, w, c), the feature map before pooling.
        head: what stands behind it.

    Returns:
        float32 (h, w) in [0, 1], scaled so that the largest is 1; all zero where nothing raised it.
    """
    hidden = features.mean(axis=(0, 1)) @ head.hidden_kernel + head.hidden_bias
    gradient = (head.hidden_kernel * (hidden > 0)) @ head.output_kernel[:, 0]
    heat = np.maximum(features @ gradient, 0)
    peak = float(heat.max())
    scaled: NDArray[np.float32] = (heat / peak if peak > 0 else heat).astype(np.float32)
    return scaled


def overlay(
    image: GreyImage, heat: NDArray[np.float32], box: tuple[int, int, int, int], opacity: float = 0.45
) -> NDArray[np.uint8]:
    """Draw the heat over the film. Where there is no heat the film shows unchanged.

    Args:
        image: float32 (height, width) in [0, 1].
        heat: float32 (h, w) in [0, 1].
        box: the part of the film that the model saw: left, top, right, bottom, pixels.
        opacity: of the hottest place, in [0, 1].

    Returns:
        uint8 (height, width, 3).
    """
    left, top, right, bottom = box
    smooth = Image.fromarray(heat).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    spread = np.zeros(image.shape, np.float32)
    spread[top:bottom, left:right] = np.clip(np.asarray(smooth), 0, 1)
    alpha = (opacity * spread)[..., None]
    grey = image[..., None] * 255
    blended: NDArray[np.uint8] = np.rint(grey * (1 - alpha) + _colours(spread) * alpha).astype(np.uint8)
    return blended


def _colours(values: NDArray[np.float32]) -> NDArray[np.float32]:
    position = values * (len(_INFERNO) - 1)
    lower = np.minimum(position.astype(np.int64), len(_INFERNO) - 2)
    fraction = (position - lower)[..., None]
    mixed: NDArray[np.float32] = _INFERNO[lower] * (1 - fraction) + _INFERNO[lower + 1] * fraction
    return mixed
