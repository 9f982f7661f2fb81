"""Reports on films as PDF, to file or to print: what a page says.

Knows results, bundles and evaluations, and says of them what `covid_core.inference.results` says on the screen. Does not know
where the films come from, nor how a page is drawn (`covid_core.inference.report_drawing`). The name of a film's file is often
the patient's, so it is not printed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import covid_core
from covid_core.card_text import RESEARCH_ONLY, card_sections
from covid_core.errors import Refusal
from covid_core.evaluation.conformal import INDETERMINATE
from covid_core.evaluation.summary import described, films_in_words
from covid_core.images.display import fitted
from covid_core.images.film import FilmTags, GreyImage
from covid_core.inference.bundle import Bundle
from covid_core.inference.explanation import overlay
from covid_core.inference.prediction import FilmResult, Prediction, SimilarFilm
from covid_core.inference.report_drawing import Letterhead, PageContent, Picture, Row, Scale, pdf_of
from covid_core.inference.wording import (
    ANYWAY,
    NOT_HEALTHY,
    assumption,
    cautions,
    headline,
    heat_sentences,
    indeterminate_sentence,
    joined,
    key_numbers,
    opacities_sentence,
    pattern_sentence,
    repairs_sentence,
    scale_words,
    spread_sentence,
)
from covid_core.labels import CLASS_TITLES, COVID

TITLE = "Second reader report: COVID-19 on a frontal chest X-ray"
PICTURE_SIDE = 720
"""Longer side of a printed picture, pixels: about 200 to the inch at the size it has on the page."""

_LONGEST_TEXT = 300  # characters of a text that comes from outside; a file system allows a name of 255
_MOST_WARNINGS = 8


@dataclass(frozen=True)
class ReportPage:
    """What a page is made of.

    Attributes:
        result: the film and what became of it.
        image: the film as the model was given it (repairs done), at display size: float32 (height, width) in [0, 1]; None
            for a page without pictures.
        patient: what was typed in to be printed as the patient's name; nothing is printed for an empty one.
        title: what tells the film from the others without naming anybody, as in `Film 3 of 5`; nothing is printed for an empty
            one.
    """

    result: FilmResult
    image: GreyImage | None
    patient: str = ""
    title: str = ""


def film_report_pdf(
    pages: Iterable[ReportPage], bundle: Bundle, evaluation: Mapping[str, Any] | None, created: datetime
) -> bytes:
    """Make the reports: one A4 page a film, the refused ones as well.

    The same input gives the same bytes. A page is drawn before the next is asked for, so that with a generator no more than
    one film is in memory at a time.

    Args:
        pages: one for each film, at least one.
        bundle: the model that the results come from.
        evaluation: the content of its `evaluation.json`; None where it cannot be read.
        created: when the report is made, with its offset from UTC.

    Returns:
        A PDF. Its metadata hold the title and nothing else.
    """
    letterhead = Letterhead(TITLE, RESEARCH_ONLY, f"Made {report_time(created)} by {software()}")
    model = [*_model_rows(bundle, evaluation), Row("Limits", (" ".join(limitations(bundle)),))]
    return pdf_of((_content(page, bundle, model) for page in pages), letterhead)


def limitations(bundle: Bundle) -> tuple[str, ...]:
    """The sentences under "Limitations" of a bundle's model card; one that says so where there is none."""
    try:
        card = bundle.file("MODEL_CARD.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        card = ""
    lines = card_sections(card).get("Limitations", "").splitlines()
    sentences = tuple(line.removeprefix("- ").strip() for line in lines if line.strip())
    return sentences or ("The limits of this model are not known: its model card cannot be read.",)


def decision_sentence(prediction: Prediction, bundle: Bundle) -> str:
    """Say what a film is called, and what that does not mean."""
    decision = f"{headline(prediction)}."
    if bundle.three_way is not None and prediction.decision == INDETERMINATE:
        return f"{decision} {indeterminate_sentence(prediction, bundle.three_way)}"
    return decision if prediction.label == COVID else f"{decision} {NOT_HEALTHY}"


def probability_sentences(prediction: Prediction, bundle: Bundle) -> str:
    """Give the probability, how firm it is, and what it assumes."""
    return joined(f"P(COVID-19) {prediction.probability_covid:.3f}.", spread_sentence(prediction), assumption(bundle))


def further_cautions(result: FilmResult) -> list[str]:
    """What speaks against relying on a result, but for a refusal that was overridden: that is the mark, `anyway_sentence`."""
    outcome = result.outcome
    if isinstance(outcome, Prediction) and outcome.screening is not None:
        outcome = replace(outcome, screening=replace(outcome.screening, refusal=None))
    return cautions(replace(result, outcome=outcome))


def anyway_sentence(refusal: Refusal) -> str:
    """Mark a film that was predicted although the gate refused it."""
    return f"{ANYWAY.upper()}: the gate refused this film ({refusal.reason}). {refusal.message}"


def model_hash(bundle: Bundle) -> str:
    """The SHA-256 of the network that serves, in lower-case hexadecimal; `not recorded` for a bundle without hashes."""
    return str(bundle.manifest.get("files", {}).get("model.tflite", "not recorded"))


def software() -> str:
    """The name and version of this program."""
    return f"covid_core {covid_core.__version__}"


def report_time(created: datetime) -> str:
    """`2026-11-23 21:30:12 UTC+01:00`.

    Raises:
        ValueError: the time does not know its offset from UTC.
    """
    if created.utcoffset() is None:
        raise ValueError(f"`created` must know its offset from UTC. Received: {created!r}")
    time = created.isoformat(sep=" ", timespec="seconds")
    return f"{time[:19]} UTC{time[19:]}"


def _content(page: ReportPage, bundle: Bundle, model: list[Row]) -> PageContent:
    result, outcome = page.result, page.result.outcome
    said = {"Film": page.title.strip(), "Patient, as typed in": page.patient.strip()}
    heading = [Row(label, (_short(text),)) for label, text in said.items() if text]
    if isinstance(outcome, Refusal):
        return PageContent(
            heading=heading,
            headline="Refused",
            numbers=f"{outcome.message} No prediction was made (reason: {outcome.reason}).",
            pictures=_pictures(page.image, None, bundle),
            rows=[Row("What to do next", (outcome.next_step,)), *_film_rows(result), *model],
        )
    return PageContent(
        heading=heading,
        mark=None if outcome.anyway is None else anyway_sentence(outcome.anyway),
        headline=headline(outcome),
        numbers=key_numbers(outcome),
        scale=_scale(outcome, bundle),
        pictures=_pictures(page.image, outcome, bundle),
        rows=[*_decision_rows(outcome, bundle), *_evidence_rows(outcome, bundle), *_film_rows(result), *model],
    )


def _scale(prediction: Prediction, bundle: Bundle) -> Scale:
    three_way = bundle.three_way
    return Scale(
        probability=prediction.probability_covid,
        threshold=prediction.threshold,
        indeterminate=None if three_way is None else (three_way.lower, three_way.upper),
        spread=prediction.spread,
    )


def _pictures(image: GreyImage | None, prediction: Prediction | None, bundle: Bundle) -> list[Picture]:
    """The film, and beside it the film with the heat over it."""
    if image is None:
        return []
    film = fitted(image, PICTURE_SIDE)
    pictures = [Picture((film * 255).round().astype("uint8"), "The film")]
    if prediction is not None:
        height, width = film.shape
        drawn = overlay(film, prediction.heat, bundle.preparation.crop_box(width, height))
        pictures.append(Picture(drawn, "The film with the model's heat map over it"))
    return pictures


def _decision_rows(prediction: Prediction, bundle: Bundle) -> Iterator[Row]:
    yield Row("Decision", (decision_sentence(prediction, bundle),))
    yield Row("Probability", (probability_sentences(prediction, bundle),))
    yield Row("The scale", (f"{scale_words(prediction, bundle.three_way)}.",))


def _evidence_rows(prediction: Prediction, bundle: Bundle) -> Iterator[Row]:
    pattern = joined(pattern_sentence(prediction), opacities_sentence(prediction, bundle))
    if pattern:
        yield Row("Pattern", (pattern,))
    yield Row("Heat map", (heat_sentences(prediction, bundle),))
    if prediction.similar:
        films = "; ".join(_similar(film) for film in prediction.similar)
        yield Row("Similar films", (f"The most similar films that the model was fitted on, nearest first: {films}.",))


def _similar(film: SimilarFilm) -> str:
    source = _short(film.source) or "source not stated"
    return f"{CLASS_TITLES[film.label]}, {source}, distance {film.distance:.2f}"


def _film_rows(result: FilmResult) -> Iterator[Row]:
    warnings = [_short(caution) for caution in further_cautions(result)]
    if warnings:
        shown, further = tuple(warnings[:_MOST_WARNINGS]), len(warnings) - _MOST_WARNINGS
        yield Row("Warnings", (*shown, f"And {further} more.") if further > 0 else shown)
    repairs = repairs_sentence(result.repairs)
    if repairs is not None:
        yield Row("Repairs", (repairs,))
    tags = _tags_in_words(result.tags)
    if tags:
        yield Row("The file says", (f"{tags}.",))


def _tags_in_words(tags: FilmTags) -> str:
    """What the file says of its film; nothing that names the patient is kept in it."""
    said = {
        "view": tags.view,
        "sex": tags.sex,
        "age": tags.age_band,
        "modality": tags.modality,
        "device by": tags.manufacturer,
    }
    return "; ".join(f"{name} {_short(value)}" for name, value in said.items() if value)


def _model_rows(bundle: Bundle, evaluation: Mapping[str, Any] | None) -> Iterator[Row]:
    if evaluation is None:
        accuracy = "The evaluation of this model cannot be read: how accurate it is is not known here."
    else:
        figures = {name: described(evaluation["metrics"][name]) for name in ("sensitivity", "specificity")}
        accuracy = (
            f"Sensitivity {figures['sensitivity']}, specificity {figures['specificity']}. "
            f"Measured on {films_in_words(evaluation)}."
        )
    yield Row("Accuracy", (accuracy,))
    yield Row("Model", (f"{bundle.name}, version {bundle.version}", f"SHA-256 {model_hash(bundle)}"))
    method = bundle.threshold_method.rstrip(".")
    yield Row("Operating point", (f"P(COVID-19) {bundle.threshold:.3f}: {method}.",))


def _short(text: str) -> str:
    """A text from outside, without its middle if it is long."""
    half = _LONGEST_TEXT // 2
    return text if len(text) <= _LONGEST_TEXT else f"{text[:half]} … {text[-half:]}"
