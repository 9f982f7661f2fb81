"""The content of a structured report on an image: what is measured, what is decided, and the sentences that belong to it.

Sources: DICOM PS3.16, TID 1500 (measurement report), 1501 (measurement group, which may be extended) and 4019 (algorithm).
"""

# ruff: noqa: PLC0415  highdicom is imported only when an export is made, so that nothing else waits for it

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from covid_core.evaluation.conformal import INDETERMINATE
from covid_core.inference.bundle import Bundle
from covid_core.inference.export_pdf import (
    anyway_sentence,
    decision_sentence,
    limitations,
    model_hash,
    probability_sentences,
    report_time,
    software,
)
from covid_core.inference.prediction import Prediction, Reading
from covid_core.inference.wording import (
    further_cautions,
    heat_sentences,
    joined,
    opacities_sentence,
    pattern_sentence,
    repairs_sentence,
)
from covid_core.labels import COVID, NON_COVID
from covid_core.text import RESEARCH_ONLY

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, Measurement, MeasurementReport, QualitativeEvaluation

MAKER = "COVID-19 chest X-ray second reader"
CODING_SCHEME = "99COVIDCORE"
"""Of our own codes, for what neither DICOM nor SNOMED CT has a code of."""

Code = tuple[str, str, str]
"""Value, coding scheme, meaning."""

COVID_19: Code = ("840539006", "SCT", "COVID-19")
DECISIONS: dict[str, Code] = {
    COVID: ("410592001", "SCT", "Probably present"),
    NON_COVID: ("410593006", "SCT", "Probably NOT present"),
    INDETERMINATE: ("82334004", "SCT", "Indeterminate"),
}
"""What is decided of COVID-19, in SNOMED CT's words for the context of a finding: none of them claims to know it."""
PROBABILITY: Code = ("122157", "DCM", "Probability")
OPERATING_POINT: Code = ("OPERATING_POINT", CODING_SCHEME, "Operating point: called COVID-19 from this probability")
INDETERMINATE_FROM: Code = ("INDET_FROM", CODING_SCHEME, "Indeterminate from this probability")
INDETERMINATE_TO: Code = ("INDET_TO", CODING_SCHEME, "Indeterminate up to this probability")
SPREAD_LOW: Code = ("SPREAD_LOW", CODING_SCHEME, "Spread of the probability in the ensemble, lower end")
SPREAD_HIGH: Code = ("SPREAD_HIGH", CODING_SCHEME, "Spread of the probability in the ensemble, upper end")
HEAT_IN_LUNGS: Code = ("HEAT_IN_LUNGS", CODING_SCHEME, "Share of the heat map that lies in the lungs")
PATTERN: Code = ("PATTERN", CODING_SCHEME, "Probability of a pattern of pneumonia")
LUNGS_AFFECTED: Code = ("LUNGS_AFFECTED", CODING_SCHEME, "Share of the lungs in which opacities were found")
GATE: Code = ("GATE", CODING_SCHEME, "Check for an upright frontal chest X-ray")
GATE_PASSED: Code = ("GATE_PASSED", CODING_SCHEME, "Passed")
GATE_REFUSED: Code = ("GATE_REFUSED", CODING_SCHEME, "Refused, predicted anyway")

_RATIO: Code = ("{ratio}", "UCUM", "ratio")
_COMMENT: Code = ("121106", "DCM", "Comment")
_CHEST_X_RAY: Code = ("399208008", "SCT", "Plain chest X-ray")


def chief_sentences(prediction: Prediction, bundle: Bundle) -> list[str]:
    """What must not be missing wherever a result is shown: that it is for research, the mark, the decision, the probability."""
    mark = [] if prediction.anyway is None else [anyway_sentence(prediction.anyway)]
    return [RESEARCH_ONLY, *mark, decision_sentence(prediction, bundle), probability_sentences(prediction, bundle)]


def report_sentences(result: Reading, bundle: Bundle, created: datetime) -> list[str]:
    """All that a report says in words on an image that was predicted, from what must not be missed to the limits.

    None of it names the image or the patient.
    """
    prediction, repairs = result.outcome, repairs_sentence(result.repairs)
    if not isinstance(prediction, Prediction):
        raise TypeError(f"`result` must be of an image that was predicted. Received: {prediction!r}")
    return [
        *chief_sentences(prediction, bundle),
        *further_cautions(result),
        *([] if repairs is None else [repairs]),
        joined(
            pattern_sentence(prediction), opacities_sentence(prediction, bundle), heat_sentences(prediction, bundle)
        ),
        *limitations(bundle),
        f"Made {report_time(created)} by {software()}.",
    ]


def measurement_report(
    prediction: Prediction,
    bundle: Bundle,
    sentences: Sequence[str],
    *,
    image: tuple[str, str],
    observation: str,
    reader: str,
) -> "MeasurementReport":
    """Lay a result out as a measurement report (TID 1500) with one measurement group, that of the image as a whole.

    Args:
        prediction: what the model says.
        bundle: the model.
        sentences: a comment each.
        image: SOP class and SOP instance UID of the image that the result is on.
        observation: UID of what is observed.
        reader: UID of the observer, which is this program with this model.
    """
    from highdicom import sr
    from pydicom.sr.codedict import codes

    observer = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=reader, name=MAKER, manufacturer_name=MAKER, model_name=bundle.name, serial_number=model_hash(bundle)
        ),
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=observation, identifier="COVID-19 on the image"),
        algorithm_id=sr.AlgorithmIdentification(
            name=bundle.name,
            version=bundle.version,
            manufacturer=MAKER,
            parameters=[
                f"SHA-256 {model_hash(bundle)}",
                f"Operating point {bundle.threshold:.3f}: {bundle.threshold_method}",
            ],
        ),
        measurements=list(_measurements(prediction, bundle)),
        qualitative_evaluations=list(_evaluations(prediction)),
        source_images=[sr.SourceImageForMeasurementGroup(*image)],
    )
    for sentence in sentences:
        comment = sr.TextContentItem(_concept(_COMMENT), sentence, sr.RelationshipTypeValues.CONTAINS)
        group[0].ContentSequence.append(comment)
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_concept(_CHEST_X_RAY),
        imaging_measurements=[group],
    )


def _measurements(prediction: Prediction, bundle: Bundle) -> Iterator["Measurement"]:
    from highdicom.sr import Measurement

    three_way, (low, high) = bundle.three_way, prediction.spread or (None, None)
    values = {
        PROBABILITY: prediction.probability_covid,
        SPREAD_LOW: low,
        SPREAD_HIGH: high,
        OPERATING_POINT: prediction.threshold,
        INDETERMINATE_FROM: None if three_way is None else three_way.lower,
        INDETERMINATE_TO: None if three_way is None else three_way.upper,
        HEAT_IN_LUNGS: prediction.heat_in_lungs,
        PATTERN: prediction.probability_pattern,
        LUNGS_AFFECTED: prediction.affected,
    }
    for name, value in values.items():
        if value is not None:
            yield Measurement(name=_concept(name), value=round(float(value), 6), unit=_concept(_RATIO))


def _evaluations(prediction: Prediction) -> Iterator["QualitativeEvaluation"]:
    from highdicom.sr import QualitativeEvaluation

    decision = DECISIONS[prediction.decision or prediction.label]
    yield QualitativeEvaluation(name=_concept(COVID_19), value=_concept(decision))
    if prediction.screening is not None:
        gate = GATE_PASSED if prediction.anyway is None else GATE_REFUSED
        yield QualitativeEvaluation(name=_concept(GATE), value=_concept(gate))


def _concept(code: Code) -> "CodedConcept":
    from highdicom.sr import CodedConcept

    value, scheme, meaning = code
    return CodedConcept(value, scheme, meaning)
