"""A LiteRT file that is run from many threads. One interpreter and one lock: shared without one it gave wrong values."""

import threading
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from covid_core.errors import BundleError
from covid_core.images.preparation import ModelInput

_FEATURE_MAP_RANK = 4


class Network:
    """The network of a bundle: uint8 film in, P(covid) and feature map out.

    Attributes:
        size: side of the film it takes, pixels.
        channels: of the feature map it gives.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as cause:
            raise BundleError(f"{path} cannot be loaded as a LiteRT model: {cause}.") from cause
        outputs = self._interpreter.get_output_details()
        ranks = [len(output["shape"]) for output in outputs]
        if len(outputs) != 2 or ranks.count(_FEATURE_MAP_RANK) != 1:  # noqa: PLR2004
            raise BundleError(f"{path} must have two outputs, P(covid) and a feature map. Its ranks are {ranks}.")
        entry = self._interpreter.get_input_details()[0]
        self.size = int(entry["shape"][1])
        self._input = entry["index"]
        # The converter does not keep the order of the outputs, so they are told apart by their rank.
        features = outputs[ranks.index(_FEATURE_MAP_RANK)]
        self.channels = int(features["shape"][-1])
        self._features = features["index"]
        self._probability = outputs[1 - ranks.index(_FEATURE_MAP_RANK)]["index"]

    def invoke(self, film: ModelInput) -> tuple[float, NDArray[np.float32]]:
        """Run the network on one film.

        Args:
            film: uint8 (size, size).

        Returns:
            P(covid) as the network gives it, in [0, 1], and the feature map before pooling, float32 (h, w, c).
        """
        with self._lock:
            self._interpreter.set_tensor(self._input, film[None, ..., None].astype(np.float32))
            self._interpreter.invoke()
            probability = float(self._interpreter.get_tensor(self._probability).ravel()[0])
            features: NDArray[np.float32] = self._interpreter.get_tensor(self._features)[0]
        return probability, features
