"""What a model says of one film or of many, as rows for a table, as a sentence and as CSV.

Knows predictions and refusals, not where the films come from. The names of the files are the user's: nothing here reads them
as anything but text, and in the CSV none of them can become a formula.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence

from covid_core.errors import ImageRefusedError
from covid_core.evaluation.conformal import INDETERMINATE, ThreeWay
from covid_core.images.decode import decode
from covid_core.inference.bundle import KERNEL_STAGE, Bundle
from covid_core.inference.prediction import FilmResult, Prediction
from covid_core.inference.predictor import Predictor
from covid_core.labels import CLASS_TITLES, COVID, NON_COVID

CSV_COLUMNS = (
    *("file", "status", "class", "decision", "probability_covid", "confidence", "threshold"),
    *("model", "version", "reason", "message", "next_step"),
)
INDETERMINATE_TITLE = "Indeterminate"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def predict_bytes(predictor: Predictor, file: str, data: bytes) -> FilmResult:
    """Predict a film from the content of its file; a refusal is a result as well.

    Args:
        predictor: serves the model.
        file: the name to keep with the result.
        data: the content.
    """
    try:
        return FilmResult(file, predictor.predict(decode(data)))
    except ImageRefusedError as refusal:
        return FilmResult(file, refusal)


def table_rows(results: Sequence[FilmResult]) -> list[dict[str, str | int | float | None]]:
    """The results as people read them, one row a film, numbered from 1.

    Returns:
        Rows with `Number`, `File`, `Class`, `P(COVID-19)` in [0, 1], `Status` and `Reason`; None for what a film has not.
    """
    return [{"Number": number, "File": one.file, **_cells(one.outcome)} for number, one in enumerate(results, start=1)]


def summary_sentence(results: Sequence[FilmResult]) -> str:
    """Count the results, such as `5 films: 2 called COVID-19, 2 called not COVID-19, 1 refused`, in a sentence.

    A model with a three-way decision has its indeterminate films counted by themselves, and in neither class.
    """
    predictions = [one.outcome for one in results if isinstance(one.outcome, Prediction)]
    counts = Counter(one.decision or one.label for one in predictions)
    parts = [f"{counts[COVID]} called COVID-19", f"{counts[NON_COVID]} called not COVID-19"]
    if any(one.decision for one in predictions):
        parts.append(f"{counts[INDETERMINATE]} indeterminate")
    films = f"{len(results)} film" + ("" if len(results) == 1 else "s")
    return f"{films}: {', '.join(parts)}, {len(results) - len(predictions)} refused."


def headline(prediction: Prediction) -> str:
    """Say in a word or two what a film is called."""
    return INDETERMINATE_TITLE if prediction.decision == INDETERMINATE else CLASS_TITLES[prediction.label]


def key_numbers(prediction: Prediction) -> str:
    """Give the numbers of a prediction, in Markdown; an indeterminate film has no call to be confident of."""
    probability = f"P(COVID-19) **{prediction.probability_covid:.3f}**"
    if prediction.decision == INDETERMINATE:
        return probability
    return f"Confidence **{prediction.confidence:.0%}**; {probability}"


def indeterminate_range(three_way: ThreeWay) -> str:
    """Say where a film is indeterminate, as a clause.

    Both classes are kept there even where the fit kept neither (see `fit_three_way`): that can only raise the coverage.
    """
    return f"between {three_way.lower:.2f} and {three_way.upper:.2f} both classes are kept, at {three_way.coverage:.0%} coverage"


def indeterminate_sentence(prediction: Prediction, three_way: ThreeWay) -> str:
    """Say what it means that a film is indeterminate, and on which side of the operating point it lies all the same."""
    leaning = "to" if prediction.label == COVID else "away from"
    return (
        f"The model can rule out neither class: {indeterminate_range(three_way)}. This film leans {leaning} COVID-19."
    )


def scale_words(prediction: Prediction, three_way: ThreeWay | None) -> str:
    """Say what the scale of a prediction shows, for those who do not see it."""
    words = f"Scale from 0 to 1: this film at {prediction.probability_covid:.2f}, operating point at {prediction.threshold:.2f}"
    if three_way is None:
        return words
    return f"{words}, indeterminate from {three_way.lower:.2f} to {three_way.upper:.2f}"


def assumption(bundle: Bundle) -> str:
    """Say what the probability of a bundle assumes."""
    prevalence = bundle.calibration.prevalence
    if prevalence is None:
        return "The probability is the model's own and is not calibrated: take it as a score, not as a chance."
    return (
        f"The probability assumes that {prevalence:.0%} of the films show COVID-19. Where it is rarer, COVID-19 is less likely "
        "than the number says."
    )


def heat_caption(prediction: Prediction, bundle: Bundle) -> str:
    """Say what the heat map of a prediction is, and what it is not."""
    if not prediction.heat.any():
        return "Nothing in the film raised the probability of COVID-19, so there is no heat to show."
    caption = "Where the model looked, not where disease is. Bright: what raised the probability of COVID-19 most in this film."
    if bundle.manifest.get("stage") == KERNEL_STAGE:
        caption += " This model weighs the lungs more by its making: heat on the lungs is no evidence of disease."
    if bundle.preparation.border_crop:
        caption += " The border of the film is not shown to the model."
    return caption


def results_csv(results: Sequence[FilmResult], bundle: Bundle) -> bytes:
    """Lay the results out as CSV with `CSV_COLUMNS`, one row a film, classes by their names in `CLASSES`.

    Args:
        results: one for each film.
        bundle: the model they come from.

    Returns:
        UTF-8 with the mark that spreadsheets recognise it by.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for one in results:
        writer.writerow([safe_cell(cell) for cell in _record(one, bundle)])
    return text.getvalue().encode("utf-8-sig")


def safe_cell(text: str) -> str:
    """Keep a spreadsheet from running a text as a formula: what begins like one gets an apostrophe before it.

    Source: OWASP, CSV Injection (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _cells(outcome: Prediction | ImageRefusedError) -> dict[str, str | float | None]:
    if isinstance(outcome, ImageRefusedError):
        return {"Class": None, "P(COVID-19)": None, "Status": "refused", "Reason": str(outcome)}
    return {
        "Class": headline(outcome),
        "P(COVID-19)": outcome.probability_covid,
        "Status": "ok",
        "Reason": None,
    }


def _record(one: FilmResult, bundle: Bundle) -> list[str]:
    outcome = one.outcome
    if isinstance(outcome, ImageRefusedError):
        values = ["refused", "", "", "", "", "", bundle.name, bundle.version, outcome.reason, outcome.message]
        values.append(outcome.next_step)
    else:
        numbers = [f"{value:.6f}" for value in (outcome.probability_covid, outcome.confidence)]
        calls = [outcome.label, outcome.decision or ""]
        values = ["ok", *calls, *numbers, f"{outcome.threshold:g}", bundle.name, bundle.version, "", "", ""]
    return [one.file, *values]
