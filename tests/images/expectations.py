"""What several tests share: an image, what is expected of it, how its refusal is caught and its memory is measured."""

import tracemalloc

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from covid_core.errors import ImageRefusedError
from covid_core.images.decode import read_image
from tests.images.samples import ramp

TWELVE_BITS = ramp(300, 4000).astype(np.uint16)
SECONDARY = {"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT"}


def refusal(data):
    with pytest.raises(ImageRefusedError) as caught:
        read_image(data)
    return caught.value.refusal


def stretched(values):
    """What a viewer shows without a window: the least value black, the greatest white."""
    return (values - values.min()) / (values.max() - values.min())


def close(image, expected):
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, expected, atol=2e-6)


def measured(call):
    """What a call gives, and the most bytes that Python held meanwhile."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
