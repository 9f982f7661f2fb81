"""Images as they are given, in files or archives, to results: read, repaired, judged and predicted.

Whatever is given ends in exactly one result, a prediction or a refusal; one bad image never stops the others.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from covid_core.errors import ImageRefusedError, Refusal
from covid_core.images.archive import is_archive, members
from covid_core.images.decode import read_image, read_limited
from covid_core.images.display import fitted, thumbnail
from covid_core.images.orientation import Repair, repaired
from covid_core.images.preprocess import ModelInput, prepare
from covid_core.images.quality import quality_warnings
from covid_core.images.types import Radiograph
from covid_core.inference.prediction import Prediction, Reading
from covid_core.inference.predictor import Predictor

WORKERS = 2
"""Threads that decode while the network runs."""


@dataclass(frozen=True)
class Given:
    """An image that was given, a file or a member of an archive, and what is asked for it."""

    name: str
    content: Callable[[], bytes]  # gives the content; raises `ImageRefusedError` where it cannot be had
    repairs: tuple[Repair, ...] = ()  # what to do to the image before it is read, in order
    anyway: bool = False  # predict the image even if the gate refuses it
    earlier: Reading | None = None
    """A result by the same model after the same repairs: if it holds the model's input, nothing is decoded."""


def given_content(name: str, data: bytes) -> list[Given]:
    """The images in a file that is in memory: itself, or the members of a ZIP file.

    An archive that cannot be opened counts as one image, which is refused.
    """
    if not is_archive(data):
        return [Given(name, lambda: data)]
    try:
        return [Given(f"{name}/{member.name}", member.read) for member in members(data)]
    except ImageRefusedError as error:
        return [Given(name, _refusing(error.refusal))]


def given_path(path: Path) -> list[Given]:
    """The images in a file on disk; see `given_content`. Anything but an archive is read when its turn comes."""
    try:
        with path.open("rb") as file:
            packed = is_archive(file.read(4))
    except OSError:
        packed = False
    if not packed:
        return [Given(str(path), lambda: read_limited(path))]
    try:
        data = read_limited(path)
    except ImageRefusedError as error:
        return [Given(str(path), _refusing(error.refusal))]
    return given_content(str(path), data)


def open_one_image(given: Given) -> Radiograph:
    """Read an image and repair it; raises `ImageRefusedError` where it cannot be read."""
    radiograph = read_image(given.content())
    return replace(radiograph, image=repaired(radiograph.image, given.repairs)) if given.repairs else radiograph


def read_all(predictor: Predictor, images: Iterable[Given]) -> Iterator[Reading]:
    """Read and predict images in their order.

    A few are decoded ahead while the network runs; the pictures of no more than `WORKERS` are in memory at a time.
    """
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        waiting = iter(images)
        ahead = deque(pool.submit(_open, predictor, given) for given in islice(waiting, 2 * WORKERS))
        while ahead:
            opened = ahead.popleft()
            ahead.extend(pool.submit(_open, predictor, given) for given in islice(waiting, 1))
            yield _judged(predictor, opened.result())


@dataclass(frozen=True)
class _Opened:
    """An image that was read, as far as its result needs it: the picture itself may be large, and is let go."""

    given: Given
    prepared: ModelInput
    result: Callable[[Prediction | Refusal], Reading]


def _open(predictor: Predictor, given: Given) -> _Opened | Reading:
    earlier = given.earlier
    if earlier is not None and earlier.model_input is not None:
        return _Opened(given, earlier.model_input, lambda outcome: replace(earlier, outcome=outcome))
    try:
        radiograph = open_one_image(given)
        image, kind, tags = radiograph.image, radiograph.kind, radiograph.tags
        warnings, small = (*radiograph.warnings, *quality_warnings(image)), thumbnail(image)
        picture = np.rint(fitted(image) * 255).astype(np.uint8)
        prepared = prepare(image, predictor.bundle.preparation)
    except ImageRefusedError as error:
        return Reading(given.name, error.refusal, repairs=given.repairs)
    except MemoryError:
        too_large = Refusal("too_large", "The image needs more memory than this computer has to spare.")
        return Reading(given.name, too_large, repairs=given.repairs)

    def result(outcome: Prediction | Refusal) -> Reading:
        return Reading(given.name, outcome, kind, tags, warnings, given.repairs, small, picture, prepared)

    return _Opened(given, prepared, result)


def _judged(predictor: Predictor, opened: _Opened | Reading) -> Reading:
    if isinstance(opened, Reading):
        return opened
    return opened.result(predictor.predict_prepared(opened.prepared, anyway=opened.given.anyway))


def _refusing(refusal: Refusal) -> Callable[[], bytes]:
    def refuse() -> bytes:
        raise ImageRefusedError(refusal.reason, refusal.message, refusal.next_step)

    return refuse
