"""What every image must fulfil, whatever its file: neither too large nor too small, of the shape of an image, and not blank."""

from covid_core.errors import ImageRefusedError
from covid_core.images.types import MAX_ASPECT, MAX_BYTES, MAX_PIXELS, MIN_SIDE, GreyImage


def check_bytes(size: int) -> None:
    """Refuse a file of too many bytes, as `too_large`."""
    if size > MAX_BYTES:
        raise ImageRefusedError(
            "too_large", f"The file has {size / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are read."
        )


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a picture of unfit size or shape, before its pixels are decoded.

    Raises:
        ImageRefusedError: `too_large`, `too_small` or `bad_shape`.
    """
    if width * height > max_pixels:
        raise ImageRefusedError(
            "too_large",
            f"The image of {width} x {height} pixels is too large: at most {max_pixels // 10**6} million pixels are read.",
        )
    if min(width, height) < MIN_SIDE:
        raise ImageRefusedError(
            "too_small",
            f"The image is {width} x {height} pixels; at least {MIN_SIDE} a side are needed to see a chest.",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageRefusedError(
            "bad_shape",
            f"The image is {width} x {height} pixels: more than {MAX_ASPECT:g} times as long as wide is no image of a chest.",
        )


def check_contents(image: GreyImage) -> None:
    """Refuse a picture that is the same grey everywhere, as `constant`."""
    if image.min() == image.max():
        raise ImageRefusedError("constant", "The image is blank: it is the same grey everywhere.")


def too_little_memory() -> ImageRefusedError:
    """The refusal of an image that may be sound, but needs more memory than there is."""
    return ImageRefusedError(
        "too_large", "The image takes more memory than there is left: it may be sound, but it could not be read."
    )
