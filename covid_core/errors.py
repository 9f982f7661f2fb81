"""The errors a user may see. Each carries one sentence that says what is wrong and what to do about it.

Anything raised on purpose by this package is a `CovidCoreError`; the command line prints its sentence and exits with 1, the
app shows it in place. Any other exception is a defect of the program.
"""


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


class ImageRefusedError(CovidCoreError):
    """An input image is refused.

    Attributes:
        reason: a stable code for programs, one of `REFUSAL_REASONS`.
    """

    def __init__(self, reason: str, message: str) -> None:
        if reason not in REFUSAL_REASONS:
            raise ValueError(f"`reason` must be one of {sorted(REFUSAL_REASONS)}. Received: {reason!r}")
        super().__init__(message)
        self.reason = reason


REFUSAL_REASONS = frozenset(
    {"missing_file", "empty_file", "not_an_image", "unsupported_format", "damaged", "too_large", "too_small"}
)
