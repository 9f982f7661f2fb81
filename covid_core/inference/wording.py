"""What a model says of an image, in words: the same sentences on the page, on the command line and in the reports.

The names of files are the user's and stand in none of these sentences.
"""

from collections.abc import Sequence
from dataclasses import replace

from covid_core.evaluation.conformal import INDETERMINATE, ThreeWay
from covid_core.images.orientation import REPAIR_TITLES, Repair
from covid_core.inference.bundle import CHEST_STAGE, Bundle
from covid_core.inference.prediction import RANGE_SHARE, Pattern, Prediction, Reading
from covid_core.inference.similar import COPY_DISTANCE
from covid_core.labels import CLASS_TITLES, COVID

INDETERMINATE_TITLE = "Indeterminate"
ANYWAY = "predicted anyway"
"""How an image is marked, wherever it is shown or exported, that was predicted although the gate refuses it."""
_LEAST_AFFECTED = 0.005
_FAR = "Of a picture that is unlike its images the model knows nothing, and still gives a number."
PATTERN_TITLES: dict[Pattern, str] = {
    "none": "No pattern of pneumonia",
    "covid": "COVID-19 pattern",
    "other": "Pattern of another pneumonia",
}
"""What a radiograph leans to, as people read it."""
CHILD = "This looks like a child's radiograph. The model was made for adults: do not rely on the result."
OPACITIES_CAPTION = (
    "Bright: where radiologists would mark an opacity, as learned from their boxes. An opacity need not be COVID-19."
)
NOT_HEALTHY = "Not COVID-19 does not mean healthy: other kinds of pneumonia are in this class as well."


def headline(prediction: Prediction) -> str:
    """Say in a word or two what an image is called."""
    return INDETERMINATE_TITLE if prediction.decision == INDETERMINATE else CLASS_TITLES[prediction.label]


def key_numbers(prediction: Prediction) -> str:
    """Give the numbers of a prediction, in Markdown; an indeterminate image has no call to be confident of."""
    probability = f"P(COVID-19) **{prediction.probability_covid:.3f}**"
    if prediction.decision == INDETERMINATE:
        return probability
    return f"Confidence **{prediction.confidence:.0%}**; {probability}"


def indeterminate_range(three_way: ThreeWay) -> str:
    """Say where an image is indeterminate, as a clause.

    Both classes are kept there even where the fit kept neither (see `fit_three_way`): that can only raise the coverage.
    """
    return f"between {three_way.lower:.2f} and {three_way.upper:.2f} both classes are kept, at {three_way.coverage:.0%} coverage"


def indeterminate_sentence(prediction: Prediction, three_way: ThreeWay) -> str:
    """Say what it means that an image is indeterminate, and on which side of the operating point it lies all the same."""
    leaning = "to" if prediction.label == COVID else "away from"
    return (
        f"The model can rule out neither class: {indeterminate_range(three_way)}. This image leans {leaning} COVID-19."
    )


def scale_words(prediction: Prediction, three_way: ThreeWay | None) -> str:
    """Say what the scale of a prediction shows, for those who do not see it."""
    words = f"Scale from 0 to 1: this image at {prediction.probability_covid:.2f}, operating point at {prediction.threshold:.2f}"
    if prediction.spread is not None and prediction.anyway is None:
        words += f", ensemble from {prediction.spread[0]:.2f} to {prediction.spread[1]:.2f}"
    if three_way is not None:
        words += f", indeterminate from {three_way.lower:.2f} to {three_way.upper:.2f}"
    return words


def spread_sentence(prediction: Prediction) -> str | None:
    """Say how firm the probability is; None where there is no ensemble, or the image is predicted anyway."""
    if prediction.spread is None or prediction.anyway is not None:
        return None
    low, high = prediction.spread
    return f"Models fitted on other draws of the patients say {low:.2f} to {high:.2f} ({RANGE_SHARE:.0%} of them)."


def pattern_sentence(prediction: Prediction) -> str | None:
    """Say which of three patterns the radiograph leans to; None for a model that does not tell."""
    if prediction.pattern is None or prediction.probability_pattern is None:
        return None
    return f"Leans to: {PATTERN_TITLES[prediction.pattern]}."


def opacities_sentence(prediction: Prediction, bundle: Bundle) -> str | None:
    """Say how much of the lungs the opacity map marks; None for a model without one."""
    if prediction.affected is None:
        return None
    if prediction.affected < _LEAST_AFFECTED:
        return "No opacity was found in the lungs."
    error = "" if bundle.opacity_error is None else f" (mean error {100 * bundle.opacity_error:.0f} points)"
    return (
        f"Opacities were found in {prediction.affected:.0%} of the lungs{error}, as boxes that radiologists would draw."
    )


def lungs_sentence(prediction: Prediction) -> str | None:
    """Say how much of the heat lies in the lungs, beside how much of the image they are; None without a lung map or heat."""
    inside = prediction.heat_in_lungs
    if inside is None or prediction.lungs is None:
        return None
    area = float(prediction.lungs.mean())
    return f"{inside:.0%} of the heat lies in the lungs, which are {area:.0%} of the image by the model's own lung map."


def grave_cautions(prediction: Prediction) -> list[str]:
    """What makes a result worth little by itself, a sentence each: a child, a refusal that was overridden, a known image."""
    found = []
    if prediction.screening is not None and prediction.screening.child:
        found.append(CHILD)
    if prediction.anyway is not None:
        found.append(f"{ANYWAY.capitalize()}: {prediction.anyway.message} {_FAR}")
    if prediction.similar and prediction.similar[0].distance < COPY_DISTANCE:
        found.append(
            "The model was fitted on this very image or a copy of it, so the result says nothing of how good it is."
        )
    return found


def cautions(result: Reading) -> list[str]:
    """What speaks against relying on a result, a sentence each, the gravest first."""
    grave = grave_cautions(result.outcome) if isinstance(result.outcome, Prediction) else []
    return [*grave, *result.warnings]


def further_cautions(result: Reading) -> list[str]:
    """As `cautions`, but for a refusal that was overridden, wherever that is marked apart."""
    outcome = result.outcome
    if isinstance(outcome, Prediction) and outcome.screening is not None:
        outcome = replace(outcome, screening=replace(outcome.screening, refusal=None))
    return cautions(replace(result, outcome=outcome))


def assumption(bundle: Bundle) -> str:
    """Say what the probability of a bundle assumes."""
    prevalence = bundle.calibration.prevalence
    if prevalence is None:
        return "The probability is the model's own and is not calibrated: take it as a score, not as a chance."
    return (
        f"The probability assumes that {prevalence:.0%} of the images show COVID-19. Where it is rarer, COVID-19 is less likely "
        "than the number says."
    )


def heat_sentences(prediction: Prediction, bundle: Bundle) -> str:
    """Say what the heat map is, what it is not, and how much of the heat lies in the lungs."""
    if not prediction.heat.any():
        return "Nothing in the image raised the probability of COVID-19, so there is no heat to show."
    caption = "Where the model looked, not where disease is. Bright: what raised the probability of COVID-19 most in this image."
    if bundle.manifest.get("stage") == CHEST_STAGE:
        caption += " This model weighs the lungs more by design: heat on the lungs is no evidence of disease."
    if bundle.preparation.border_crop:
        caption += " The border of the image is not shown to the model."
    return joined(caption, lungs_sentence(prediction))


def repairs_sentence(repairs: Sequence[Repair]) -> str | None:
    """Say what was done to an image before it was read; None where nothing was."""
    if not repairs:
        return None
    return f"Before it was read, the image was {', then '.join(REPAIR_TITLES[repair] for repair in repairs)}."


def joined(*sentences: str | None) -> str:
    """Put sentences after one another, those that there are."""
    return " ".join(sentence for sentence in sentences if sentence)
