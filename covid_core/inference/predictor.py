"""A film to a prediction: preparation, network, calibration, operating point and evidence, as one bundle fixes them."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import BundleError
from covid_core.images.film import GreyImage
from covid_core.images.preparation import ModelInput, prepare
from covid_core.images.repair import Repair
from covid_core.inference.bundle import Bundle
from covid_core.inference.ensemble import Ensemble, load_ensemble, spread_of
from covid_core.inference.explanation import KernelHead, grad_cam, load_head
from covid_core.inference.gate import Gate, load_gate, repaired_input
from covid_core.inference.network import Network
from covid_core.inference.prediction import Prediction
from covid_core.inference.similar import similar_films
from covid_core.labels import COVID, NON_COVID


class Predictor:
    """Serves one bundle; safe to call from many threads.

    Raises:
        BundleError: the network cannot be loaded, takes films of another size than the bundle prepares, or gives a feature
            map that the head does not fit.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.network = Network(bundle.file("model.tflite"))
        if self.network.size != bundle.preparation.size:
            raise BundleError(
                f"{bundle.folder} prepares films of {bundle.preparation.size} pixels a side, its network takes "
                f"{self.network.size}. Export it anew."
            )
        self._head = load_head(bundle.file("head.npz"))
        if self.network.channels != self._head.channels:
            raise BundleError(
                f"{bundle.folder} has a head for {self._head.channels} channels, its network gives "
                f"{self.network.channels}. Export it anew."
            )
        self._ensemble: Ensemble | None = None
        members = bundle.optional_file("ensemble.npz")
        if members is not None and isinstance(self._head, KernelHead):  # whose kernel the members share
            self._ensemble = load_ensemble(members, self._head)
        gate = bundle.optional_file("gate.npz")
        self._gate: Gate | None = None if gate is None else load_gate(gate)
        if self._gate is not None and self._gate.channels != self.network.channels:
            raise BundleError(f"The gate of {bundle.folder} does not fit its network. Export the bundle anew.")

    def predict(self, image: GreyImage, *, anyway: bool = False) -> Prediction:
        """Predict one film.

        Args:
            image: float32 (height, width) in [0, 1], from `covid_core.images.decode`.
            anyway: predict what the gate refuses as well; the prediction then carries the refusal.

        Raises:
            ScreenedOutError: the gate of the bundle, if it has one, refuses the film.
        """
        return self.predict_prepared(prepare(image, self.bundle.preparation), anyway=anyway)

    def predict_prepared(self, film: ModelInput, *, anyway: bool = False) -> Prediction:
        """Predict a film that is prepared already, uint8 (size, size); see `predict`."""
        given = self.network.invoke(film)
        screening = None if self._gate is None else self._gate.screen(given.features, partial(self._look, film))
        if screening is not None and screening.refusal is not None and not anyway:
            raise screening.refusal
        probability = float(self.bundle.calibration.apply(np.array([given.probability]))[0])
        three_way = self.bundle.three_way
        return Prediction(
            label=COVID if probability >= self.bundle.threshold else NON_COVID,
            probability_covid=probability,
            threshold=self.bundle.threshold,
            heat=grad_cam(given.features, self._head),
            decision=None if three_way is None else three_way.decide(probability),
            # Far from their films the machines all say much the same: a narrow spread there would read as firmness.
            spread=None if screening is not None and screening.refusal is not None else self._spread(given.features),
            lungs=given.lungs,
            screening=screening,
            similar=() if self._gate is None else similar_films(given.features, self._gate),
        )

    def _look(self, film: ModelInput, repairs: tuple[Repair, ...]) -> NDArray[np.float32]:
        """The feature map of a film after repairs."""
        return self.network.invoke(repaired_input(film, repairs)).features

    def _spread(self, features: NDArray[np.float32]) -> tuple[float, float] | None:
        """The ends of what the ensemble says, calibrated."""
        if self._ensemble is None or not isinstance(self._head, KernelHead):
            return None
        said = self._ensemble.probabilities(features.mean(axis=(0, 1)), self._head)
        return spread_of(self.bundle.calibration.apply(said))
