"""An image to a prediction: preparation, network, calibration, operating point and evidence, as one bundle fixes them."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import BundleError
from covid_core.evaluation.opacity_map import affected_share
from covid_core.images.orientation import Repair
from covid_core.images.preprocess import ModelInput, prepare
from covid_core.images.types import GreyImage
from covid_core.inference.bundle import Bundle
from covid_core.inference.explanation import grad_cam, load_head
from covid_core.inference.gate import Gate, load_gate, repaired_input
from covid_core.inference.network import Network, NetworkOutput
from covid_core.inference.prediction import RANGE_SHARE, Pattern, Prediction, ScreenedOut
from covid_core.inference.similar import similar_images
from covid_core.labels import COVID, NON_COVID, Label

_MEMBERS_FROM = 3  # P(covid) and its two questions come first


class Predictor:
    """Serves one bundle; safe to call from many threads.

    Raises:
        BundleError: the network cannot be loaded, takes images of another size than the bundle prepares, or gives a feature
            map that the head does not fit.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.network = Network(bundle.file("model.tflite"))
        if self.network.size != bundle.preparation.size:
            raise BundleError(
                f"{bundle.folder} prepares images of {bundle.preparation.size} pixels a side, its network takes "
                f"{self.network.size}. Export it again."
            )
        self._head = load_head(bundle.file("head.npz"))
        if self.network.channels != self._head.channels:
            raise BundleError(
                f"{bundle.folder} has a head for {self._head.channels} channels, its network gives "
                f"{self.network.channels}. Export it again."
            )
        gate = bundle.optional_file("gate.npz")
        self._gate: Gate | None = None if gate is None else load_gate(gate)
        if self._gate is not None and self._gate.channels != self.network.channels:
            raise BundleError(f"The gate of {bundle.folder} does not fit its network. Export the bundle again.")

    def predict(self, image: GreyImage, *, anyway: bool = False) -> Prediction | ScreenedOut:
        """Predict one radiograph, float32 (height, width) in [0, 1], or say why the gate of the bundle refuses it.

        With `anyway` what the gate refuses is predicted as well; the prediction then carries the refusal.
        """
        return self.predict_prepared(prepare(image, self.bundle.preparation), anyway=anyway)

    def predict_prepared(self, prepared: ModelInput, *, anyway: bool = False) -> Prediction | ScreenedOut:
        """Predict a radiograph that is prepared already, uint8 (size, size); see `predict`."""
        given = self.network.invoke(prepared)
        screening = None if self._gate is None else self._gate.screen(given.features, partial(self._look, prepared))
        if screening is not None and screening.refusal is not None and not anyway:
            return screening.refusal
        probability = float(self.bundle.calibration.apply(np.array([given.probability]))[0])
        three_way = self.bundle.three_way
        label = COVID if probability >= self.bundle.threshold else NON_COVID
        return Prediction(
            label=label,
            probability_covid=probability,
            threshold=self.bundle.threshold,
            heat=grad_cam(given.features, self._head),
            decision=None if three_way is None else three_way.decide(probability),
            # Far from the training images the members all answer much the same: a narrow range there would read as certainty.
            spread=None if screening is not None and screening.refusal is not None else self._spread(given),
            **self._evidence(given, label),
            screening=screening,
            similar=() if self._gate is None else similar_images(given.features, self._gate),
        )

    def _look(self, prepared: ModelInput, repairs: tuple[Repair, ...]) -> NDArray[np.float32]:
        """The feature map of an image after repairs."""
        return self.network.invoke(repaired_input(prepared, repairs)).features

    def _evidence(self, given: NetworkOutput, label: Label) -> dict[str, Any]:
        """The pattern and the maps, as far as the network tells them."""
        found: dict[str, Any] = {}
        if self.bundle.pattern_threshold is not None:
            seen = float(given.answers[1])
            other: Pattern = "other" if seen >= self.bundle.pattern_threshold else "none"
            found |= {"pattern": "covid" if label == COVID else other, "probability_pattern": seen}
        if given.maps is not None:
            found |= {"lungs": given.maps[..., 0], "opacities": given.maps[..., 1]}
            if self.bundle.opacity_threshold is not None:
                share = affected_share(found["opacities"], found["lungs"], self.bundle.opacity_threshold)
                found["affected"] = float(share)
        return found

    def _spread(self, given: NetworkOutput) -> tuple[float, float] | None:
        """The ends of the range that the ensemble gives, calibrated."""
        members = given.answers[_MEMBERS_FROM:]
        if not members.size:
            return None
        ends = [(1 - RANGE_SHARE) / 2, (1 + RANGE_SHARE) / 2]
        low, high = np.quantile(self.bundle.calibration.apply(members), ends)
        return float(low), float(high)
