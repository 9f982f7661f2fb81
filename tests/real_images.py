"""Real images for tests, from the package pydicom-data: RG1 is a frontal chest X-ray (PA), RG3 a leg (NEMA WG-04 samples)."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from covid_core.images.decode import decode_file


def sample(name: str) -> Path:
    """The path of one of the package's DICOM files, such as `RG1_J2KI`; skips where the package is not installed."""
    package = find_spec("data_store")
    if package is None or not package.submodule_search_locations:
        pytest.skip("pydicom-data is not installed here (requirements-dev.txt)")
    return Path(package.submodule_search_locations[0]) / "data" / f"{name}.dcm"


def leg_image(size: int = 512) -> NDArray[np.uint8]:
    """An image of a leg, uint8 (size, size), for what is no chest; its file says so, its pixels alone do not."""
    pixels = dcmread(sample("RG3_J2KI")).pixel_array.astype(np.float32)
    grey = np.rint(255 * (1 - pixels / pixels.max())).astype(np.uint8)  # MONOCHROME1
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR))


def chest_image(seed: int = 0, size: int = 512) -> NDArray[np.uint8]:
    """A frontal chest X-ray, uint8 (size, size); each seed gives it other margins, as if it were another exposure."""
    image = _chest()
    left, top, right, bottom = np.random.default_rng(seed).integers(0, 24, 4) if seed else (0, 0, 0, 0)
    height, width = image.shape
    cut = Image.fromarray(image[top : height - bottom, left : width - right])
    return np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR))


@cache
def _chest() -> NDArray[np.uint8]:
    return np.rint(decode_file(sample("RG1_J2KI")) * 255).astype(np.uint8)
