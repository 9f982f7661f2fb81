"""A LiteRT file that is run from many threads. One interpreter and one lock: shared without one it gave wrong values."""

import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from covid_core.errors import BundleError
from covid_core.images.preprocess import ModelInput

_MAP_RANK = 4
_MAPS = 2  # channels of the output that holds lungs and opacities


class NetworkOutput(NamedTuple):
    """What the network gives of one image."""

    answers: NDArray[np.float32]
    """P(covid), not calibrated; then, of a network that is asked two questions, P(pattern of pneumonia), P(covid given a
    pattern), and P(covid) of each member of its ensemble: (k,) in [0, 1]."""
    features: NDArray[np.float32]  # the feature map before pooling, (h, w, c)
    maps: NDArray[np.float32] | None  # lungs and opacities, (h, w, 2) in [0, 1]

    @property
    def probability(self) -> float:
        """P(covid), not calibrated, in [0, 1]."""
        return float(self.answers[0])


class Network:
    """The network of a bundle: uint8 image in, P(covid) and the evidence for it out.

    Attributes:
        size: side of the image it takes, pixels.
        channels: of the feature map it gives.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as cause:
            raise BundleError(f"{path} cannot be loaded as a LiteRT model: {cause}.") from cause
        # The converter does not keep the order of the outputs, so they are distinguished by their shapes.
        given = self._interpreter.get_output_details()
        outputs = {_kind(output["shape"]): output for output in given}
        if len(outputs) < len(given) or not {"answers", "features"} <= set(outputs):
            shapes = [tuple(output["shape"].tolist()) for output in given]
            raise BundleError(f"{path} must give P(covid) and a feature map. Received outputs of the shapes {shapes}.")
        entry = self._interpreter.get_input_details()[0]
        self.size = int(entry["shape"][1])
        self._input = entry["index"]
        self.channels = int(outputs["features"]["shape"][-1])
        self._outputs = {kind: output["index"] for kind, output in outputs.items()}

    def invoke(self, image: ModelInput) -> NetworkOutput:
        """Run the network on one image, uint8 (size, size)."""
        with self._lock:
            self._interpreter.set_tensor(self._input, image[None, ..., None].astype(np.float32))
            self._interpreter.invoke()
            given = {kind: self._interpreter.get_tensor(index)[0] for kind, index in self._outputs.items()}
        return NetworkOutput(given["answers"], given["features"], given.get("maps"))


def _kind(shape: NDArray[np.int32]) -> str:
    if len(shape) != _MAP_RANK:
        return "answers"
    return "maps" if shape[-1] == _MAPS else "features"
