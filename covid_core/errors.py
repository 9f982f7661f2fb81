"""The errors a user may see. Each carries one sentence that says what is wrong and what to do about it.

Anything raised on purpose by this package is a `CovidCoreError`; the command line prints its sentence and exits with 1, the
app shows it in place. Any other exception is a defect of the program.
"""

from dataclasses import dataclass


class CovidCoreError(Exception):
    """Base of every error that is meant for the user; `str(error)` is the sentence to show."""


class DatasetError(CovidCoreError):
    """A table, a folder of images or a prepared dataset cannot be used as it is."""


class DownloadError(CovidCoreError):
    """Something could not be fetched from the network."""


class TrainingError(CovidCoreError):
    """A run cannot be started, resumed, evaluated or exported."""


class EvaluationError(CovidCoreError):
    """Predictions cannot be turned into a report."""


class BundleError(CovidCoreError):
    """A model bundle is missing, incomplete or altered."""


@dataclass(frozen=True)
class Refusal:
    """Why an image is refused, as plain data.

    Results keep this and not the exception, whose traceback would keep the decoded picture in memory. `reason` is a stable code
    for programs, a key of `REFUSALS`; `message` and `next_step` are a sentence each, the latter that of `REFUSALS` by default.
    """

    reason: str
    message: str
    next_step: str = ""

    def __post_init__(self) -> None:
        if self.reason not in REFUSALS:
            raise ValueError(f"`reason` must be one of {sorted(REFUSALS)}. Received: {self.reason!r}")
        object.__setattr__(self, "next_step", self.next_step or REFUSALS[self.reason])

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}"


class ImageRefusedError(CovidCoreError):
    """An input image is refused; `refusal` says why, and what to do next. The arguments are those of `Refusal`."""

    def __init__(self, reason: str, message: str, next_step: str = "") -> None:
        super().__init__(reason, message, next_step)  # as they are: pickle makes the exception from them
        self.refusal = Refusal(reason, message, next_step)

    def __str__(self) -> str:
        return str(self.refusal)

    @property
    def reason(self) -> str:
        """The code of the refusal."""
        return self.refusal.reason


REFUSALS = {
    "missing_file": "Check its name and that it may be read.",
    "empty_file": "Export the image again and retry.",
    "not_an_image": "Give the image itself, as PNG, JPEG or DICOM.",
    "unsupported_format": "Save the image as PNG, JPEG or uncompressed DICOM.",
    "damaged": "Export the image again and retry.",
    "too_large": "Export it smaller.",
    "too_small": "Export it in its full size.",
    "bad_shape": "Give the whole image, uncut.",
    "constant": "Export the image again and look at it first.",
    "multi_frame": "Give one image at a time, as a single picture.",
    "no_pixel_data": "Export the file with its image.",
    "unsupported_object": "Give a radiograph (CR, DX) or a secondary capture of one.",
    "not_a_chest": "Give a frontal chest X-ray.",
    "bad_archive": "Pack the images again into a plain ZIP file.",
    "archive_too_large": "Pack fewer or smaller images into one ZIP file.",
    "nested_archive": "Unpack it and give the images themselves.",
    "not_a_chest_xray": "Give a frontal chest X-ray; if it is one, predict anyway and doubt the result.",
    "lateral": "Give the frontal image (PA or AP) of the study.",
    "not_upright": "Turn the image, or predict anyway.",
    "negative": "Invert the image, or predict anyway.",
}
"""Reason -> what to do next, where the place that refuses has nothing better to say."""
