"""The same picture under several names: by content (SHA-256) and by appearance (correlation of small grey pictures).

Measured on the 672 images of the default cohort of the dataset, every pair near a limit looked at by eye. 20 pairs under
different patient ids belong together: 14 are one picture saved twice, five are one image published twice (other
brightness, arrows drawn in, or cropped), and one shows the same person on another day.

- Whole pictures at 64 x 64, correlated: the 14 have 0.9999 or more; the others 0.957 to 0.966, but the cropped one 0.875,
  among hundreds of unrelated pairs. The next highest are images of different people, 0.927.
- The inner part of one picture against windows of the other at several positions and scales, large-scale brightness
  removed ("match"): 18 of the 20 have 0.964 or more, the cropped one 0.985. The other two, with arrows and of another day,
  have 0.900 and 0.908; the highest of images of different people is 0.918.

Hence the two rules of `Limits`: they find all 20 and nothing else across patient ids, and five pairs within one patient,
who shares a group anyway. Of 60 of the images, cropped at random by up to 5, 10 and 15 % at every side, 95, 92 and 72 % are
found again. Mirrored and rotated copies are not looked for.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.files import sha256_of_file
from covid_core.images.decode import decode_file
from covid_core.images.types import GreyImage

Progress = Callable[[int, int], None]
"""Called with (done, total) as work goes on."""
FloatArray = NDArray[np.float32]
FingerprintFiles = Callable[[Sequence[Path], Progress | None], list["Fingerprint"]]
"""`fingerprint_files`, or the same from a cache."""
T = TypeVar("T")

THUMBNAIL_SIZE = 64
MAX_WORKERS = 4
"""Images decoded at a time; one may take 200 MB."""
_INNER = 44  # side of the compared inner part, thumbnail pixels
_CELLS = 24  # a window is compared at this many cells a side
_SCALES = (1.0, 0.955, 0.91, 0.865, 0.82)  # a window's side in units of the inner part's
_STEP = 1.5  # between window positions, thumbnail pixels
_DETAIL_SIGMA = 5.0  # structures larger than this are removed before matching, thumbnail pixels
_BLOCK = 256  # pictures that are correlated with all others at a time


@dataclass(frozen=True)
class Limits:
    """When two pictures count as (almost) the same one; see the measurements above.

    Attributes:
        match: the match alone suffices from here on, in [0, 1].
        whole: the correlation of the whole pictures suffices from here on, in [0, 1] ...
        whole_match: ... if the match is at least this, in [0, 1].
        candidates: pairs whose whole pictures correlate less are not matched, to save time.
    """

    match: float = 0.94
    whole: float = 0.945
    whole_match: float = 0.85
    candidates: float = 0.5


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of one file.

    Attributes:
        sha256: of its content.
        thumbnail: float32 (64, 64) in [0, 1], aspect not kept; None where the file cannot be read as an image.
        problem: why it cannot be read, '' where it can.
    """

    sha256: str
    thumbnail: FloatArray | None
    problem: str = ""


def fingerprint_files(paths: Sequence[Path], progress: Progress | None = None) -> list[Fingerprint]:
    """Hash and decode files; one fingerprint per path. A file that cannot be read is reported in its fingerprint."""
    return map_files(fingerprint_file, paths, progress)


def map_files(function: Callable[[Path], T], paths: Sequence[Path], progress: Progress | None = None) -> list[T]:
    """Apply a function to files, several at a time, and return the results in their order.

    The function decodes at most one image. `progress` is called from the calling thread after each file; what it raises ends
    the work within a few files.
    """
    executor = ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1))
    try:
        results = []
        for result in executor.map(function, paths):
            results.append(result)
            if progress is not None:
                progress(len(results), len(paths))
        return results
    finally:
        executor.shutdown(cancel_futures=True)


def fingerprint_file(path: Path) -> Fingerprint:
    """Hash and decode one file."""
    try:
        digest = sha256_of_file(path)
    except OSError as cause:
        return Fingerprint("", None, f"The file cannot be read: {cause.strerror or cause}.")
    try:
        return Fingerprint(digest, thumbnail(decode_file(path)))
    except ImageRefusedError as refusal:
        return Fingerprint(digest, None, str(refusal))


def thumbnail(image: GreyImage) -> FloatArray:
    """Shrink a picture, float32 (height, width) in [0, 1], to float32 (64, 64) by averaging boxes."""
    small = Image.fromarray(image).resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def duplicate_pairs(
    fingerprints: Sequence[Fingerprint], limits: Limits | None = None, progress: Progress | None = None
) -> list[tuple[int, int]]:
    """Find the pairs with the same content or (almost) the same picture; without a thumbnail the content alone is compared.

    Time grows with the square of the number, memory with the number: on two cores 4 s for 686 pictures, 35 s for 2,000
    and 5 minutes for 5,000, with which the process has 520 MB. `progress` is called after each picture that was compared.

    Returns:
        Pairs of positions (first, second) with first < second, sorted.
    """
    readable = [number for number, item in enumerate(fingerprints) if item.thumbnail is not None]
    thumbnails = [item.thumbnail for item in fingerprints if item.thumbnail is not None]
    earliest: dict[str, int] = {}
    same_content = {
        (earliest.setdefault(one.sha256, place), place) for place, one in enumerate(fingerprints) if one.sha256
    }
    pairs = {(first, second) for first, second in same_content if first != second}
    if thumbnails:
        alike = _alike(np.stack(thumbnails), limits or Limits(), progress)
        pairs |= {(readable[first], readable[second]) for first, second in alike}
    return sorted(pairs)


def components(count: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Number the connected components of a graph of `count` nodes, given its edges.

    Returns:
        int64 (count,): the component of each node, numbered from 0 in the order in which they first occur.
    """
    from scipy.sparse import coo_array  # noqa: PLC0415  SciPy takes 0.3 s, and fingerprints need none of it
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    edges = np.array(pairs, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _matcher(thumbnails: FloatArray) -> Callable[[int, NDArray[np.intp]], FloatArray]:
    """Prepare to match windows of a picture with the inner part of others, so that an image finds the crop that was cut from it.

    Returns:
        A function of a picture's position among the thumbnails, float32 (n, 64, 64), and those of k others, which gives
        float32 (k,): the best correlation over all windows.
    """
    from scipy.ndimage import gaussian_filter  # noqa: PLC0415

    detail: FloatArray = thumbnails - gaussian_filter(thumbnails, (0, _DETAIL_SIGMA, _DETAIL_SIGMA))
    sampler = np.concatenate([_box_sampler(start, side) for start, side in _windows()])
    inner = sampler[:_CELLS]  # the first window is the inner part itself
    templates = _unit((inner @ detail @ inner.T).reshape(len(detail), -1))

    def match(number: int, others: NDArray[np.intp]) -> FloatArray:
        cells = (sampler @ detail[number] @ sampler.T).reshape(-1, _CELLS, len(sampler) // _CELLS, _CELLS)
        windows = _unit(cells.transpose(0, 2, 1, 3).reshape(-1, _CELLS * _CELLS))
        best: FloatArray = (windows @ templates[others].T).max(axis=0)
        return best

    return match


def _alike(thumbnails: FloatArray, limits: Limits, progress: Progress | None) -> Iterator[tuple[int, int]]:
    """The pairs that count as the same, some of them twice: the match of a pair is the better of its two directions.

    Each picture is compared with the others in turn, so that no matrix of all pairs need be held.
    """
    match = _matcher(thumbnails)
    vectors = _unit(thumbnails.reshape(len(thumbnails), -1))
    for start in range(0, len(thumbnails), _BLOCK):
        for number, correlations in enumerate(vectors[start : start + _BLOCK] @ vectors.T, start):
            correlations[number] = 0
            others = np.flatnonzero(correlations >= limits.candidates)
            matches, wholes = match(number, others), correlations[others]
            same = (matches >= limits.match) | ((wholes >= limits.whole) & (matches >= limits.whole_match))
            yield from ((min(number, other), max(number, other)) for other in others[same].tolist())
            if progress is not None:
                progress(number + 1, len(thumbnails))


def _windows() -> Iterator[tuple[float, float]]:
    """Start and side of the windows along one axis, thumbnail pixels: the inner parts of the crops that are looked for."""
    for scale in _SCALES:
        side, room = _INNER * scale, THUMBNAIL_SIZE * (1 - scale) / 2
        steps = round(room / _STEP)
        for position in range(-steps, steps + 1):
            offset = room * position / steps if steps else 0.0
            yield (THUMBNAIL_SIZE - side) / 2 + offset, side


def _box_sampler(start: float, side: float) -> FloatArray:
    """The matrix, float32 (24, 64), that averages a line of 64 pixels over 24 equal boxes from `start` on."""
    edges = start + side * np.arange(_CELLS + 1)[:, None] / _CELLS
    pixels = np.arange(THUMBNAIL_SIZE)[None, :]
    overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return np.asarray(np.clip(overlap, 0, None) * _CELLS / side, np.float32)


def _unit(vectors: FloatArray) -> FloatArray:
    """Centre each vector and scale it to length 1; a constant one becomes 0."""
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=-1, keepdims=True)
    unit: FloatArray = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 1e-4)  # noqa: PLR2004
    return unit
