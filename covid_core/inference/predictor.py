"""A film to a prediction: preparation, network, calibration, operating point and evidence, as one bundle fixes them."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import BundleError, ImageRefusedError
from covid_core.images.decode import decode_file
from covid_core.images.film import GreyImage
from covid_core.images.preparation import ModelInput, prepare
from covid_core.inference.bundle import Bundle
from covid_core.inference.ensemble import Ensemble, load_ensemble, spread_of
from covid_core.inference.explanation import KernelHead, grad_cam, load_head
from covid_core.inference.network import Network
from covid_core.inference.prediction import Prediction
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

    def predict(self, image: GreyImage) -> Prediction:
        """Predict one film.

        Args:
            image: float32 (height, width) in [0, 1], from `covid_core.images.decode`.
        """
        return self.predict_prepared(prepare(image, self.bundle.preparation))

    def predict_prepared(self, film: ModelInput) -> Prediction:
        """Predict a film that is prepared already: uint8 (size, size)."""
        given = self.network.invoke(film)
        probability = float(self.bundle.calibration.apply(np.array([given.probability]))[0])
        three_way = self.bundle.three_way
        return Prediction(
            label=COVID if probability >= self.bundle.threshold else NON_COVID,
            probability_covid=probability,
            threshold=self.bundle.threshold,
            heat=grad_cam(given.features, self._head),
            decision=None if three_way is None else three_way.decide(probability),
            spread=self._spread(given.features),
            lungs=given.lungs,
        )

    def _spread(self, features: NDArray[np.float32]) -> tuple[float, float] | None:
        """The ends of what the ensemble says, calibrated."""
        if self._ensemble is None or not isinstance(self._head, KernelHead):
            return None
        said = self._ensemble.probabilities(features.mean(axis=(0, 1)), self._head)
        return spread_of(self.bundle.calibration.apply(said))


def predict_files(
    predictor: Predictor, paths: Sequence[Path], workers: int = 2
) -> Iterator[Prediction | ImageRefusedError]:
    """Predict files in their order; a refused one does not stop the others.

    A few films are decoded ahead while the network runs, and no more than that are in memory at a time.

    Args:
        predictor: serves the model.
        paths: image files.
        workers: threads that decode.

    Yields:
        For each path its prediction, or why it is refused.
    """

    def decode_and_prepare(path: Path) -> ModelInput:
        return prepare(decode_file(path), predictor.bundle.preparation)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting = iter(paths)
        ahead: deque[Future[ModelInput]] = deque(
            pool.submit(decode_and_prepare, p) for p in islice(waiting, 2 * workers)
        )
        while ahead:
            film = ahead.popleft()
            ahead.extend(pool.submit(decode_and_prepare, path) for path in islice(waiting, 1))
            try:
                yield predictor.predict_prepared(film.result())
            except ImageRefusedError as refusal:
                yield refusal
