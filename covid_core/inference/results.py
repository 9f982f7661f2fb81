"""What a model says of one image or of many, as rows for a table, as a sentence and as CSV.

The names of the files are the user's: nothing here reads them as anything but text, and in the CSV none can become a formula.
"""

import csv
import io
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import covid_core
from covid_core.errors import Refusal
from covid_core.evaluation.conformal import INDETERMINATE
from covid_core.inference.bundle import Bundle
from covid_core.inference.prediction import Prediction, Reading
from covid_core.inference.wording import ANYWAY, further_cautions, grave_cautions, headline
from covid_core.labels import COVID, NON_COVID
from covid_core.text import safe_cell

CSV_COLUMNS = (
    *(
        "file",
        "status",
        "class",
        "decision",
        "probability_covid",
        "spread_low",
        "spread_high",
        "confidence",
        "threshold",
    ),
    *("pattern", "probability_pattern", "lungs_affected"),
    *("model", "version", "gate", "repairs", "view", "warnings", "reason", "message", "next_step"),
)


def table_rows(results: Sequence[Reading]) -> list[dict[str, str | int | float | None]]:
    """The results as people read them, one row an image, numbered from 1.

    Returns:
        Rows with `Number`, `Radiograph` (a small picture as a data address), `File`, `Class`, `P(COVID-19)` in [0, 1],
        `Status` and `Reason`; None for what an image has not.
    """
    return [
        {"Number": number, "Radiograph": _picture(one.thumbnail), "File": one.file, **_cells(one.outcome)}
        for number, one in enumerate(results, start=1)
    ]


def summary_sentence(results: Sequence[Reading]) -> str:
    """Count the results, such as `5 images: 2 called COVID-19, 2 called not COVID-19, 1 refused`, in a sentence.

    A model with a three-way decision has its indeterminate images counted by themselves, and in neither class.
    """
    predictions = [one.outcome for one in results if isinstance(one.outcome, Prediction)]
    counts = Counter(one.decision or one.label for one in predictions)
    parts = [f"{counts[COVID]} called COVID-19", f"{counts[NON_COVID]} called not COVID-19"]
    if any(one.decision for one in predictions):
        parts.append(f"{counts[INDETERMINATE]} indeterminate")
    images = f"{len(results)} image" + ("" if len(results) == 1 else "s")
    anyway = sum(one.anyway is not None for one in predictions)
    if anyway:
        parts[-1] += f" ({anyway} of the calls {ANYWAY})"
    return f"{images}: {', '.join(parts)}, {len(results) - len(predictions)} refused."


def results_csv(results: Sequence[Reading], bundle: Bundle) -> bytes:
    """Lay the results out as CSV with `CSV_COLUMNS`, one row an image, classes by their names in `CLASSES`.

    Returns:
        UTF-8 with the mark that spreadsheets recognise it by.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for one in results:
        writer.writerow([_cell(value) for value in result_record(one, bundle).values()])
    return text.getvalue().encode("utf-8-sig")


def result_record(one: Reading, bundle: Bundle) -> dict[str, Any]:
    """A result as plain values under the names of `CSV_COLUMNS`: numbers as numbers, None for what an image has not."""
    outcome = one.outcome
    record: dict[str, Any] = dict.fromkeys(CSV_COLUMNS)
    record |= {"file": one.file, "model": bundle.name, "version": bundle.version, "view": one.tags.view}
    record |= {"repairs": list(one.repairs), "warnings": further_cautions(one)}
    if isinstance(outcome, Refusal):
        return record | {"status": "refused", **_reasons(outcome)}
    low, high = outcome.spread or (None, None)
    record |= {
        "status": "ok",
        "class": outcome.label,
        "decision": outcome.decision,
        "probability_covid": round(outcome.probability_covid, 6),
        "spread_low": _rounded(low),
        "spread_high": _rounded(high),
        "confidence": round(outcome.confidence, 6),
        "threshold": outcome.threshold,
        "pattern": outcome.pattern,
        "probability_pattern": _rounded(outcome.probability_pattern),
        "lungs_affected": _rounded(outcome.affected),
        "gate": None if outcome.screening is None else "passed",
    }
    return record | ({} if outcome.anyway is None else {"gate": ANYWAY, **_reasons(outcome.anyway)})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _reasons(refusal: Refusal) -> dict[str, str]:
    return {"reason": refusal.reason, "message": refusal.message, "next_step": refusal.next_step}


def _cell(value: Any) -> str:
    """A value of a record as the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, list):
        return safe_cell(" | ".join(value))
    return safe_cell(value) if isinstance(value, str) else f"{value:.6g}"


def _picture(thumbnail: NDArray[np.uint8] | None) -> str | None:
    if thumbnail is None:
        return None
    content = io.BytesIO()
    Image.fromarray(thumbnail).save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(content.getvalue()).decode('ascii')}"


def _cells(outcome: Prediction | Refusal) -> dict[str, str | float | None]:
    if isinstance(outcome, Refusal):
        return {"Class": None, "P(COVID-19)": None, "Status": "refused", "Reason": str(outcome)}
    grave = " ".join(grave_cautions(outcome))
    return {
        "Class": headline(outcome),
        "P(COVID-19)": outcome.probability_covid,
        "Status": ANYWAY if outcome.anyway is not None else "doubtful" if grave else "ok",
        "Reason": grave or None,
    }


def results_json(results: Sequence[Reading], bundle: Bundle, created: datetime) -> bytes:
    """Lay the results out as JSON in UTF-8: a list with an object for each image, null for what it has not.

    An object has what `predict --json` prints (the class as `label`), the columns of the CSV, and with what and when it was made:
    `created` (ISO 8601, with the offset from UTC), `software` and `model_sha256` of the network that serves.
    """
    if created.utcoffset() is None:
        raise ValueError(f"`created` must know its offset from UTC. Received: {created!r}")
    made = {
        "created": created.isoformat(timespec="seconds"),
        "software": f"covid_core {covid_core.__version__}",
        "model_sha256": bundle.manifest.get("files", {}).get("model.tflite"),
    }
    records = [result_record(one, bundle) for one in results]
    images = [{**record, "label": record["class"], **made} for record in records]
    return json.dumps(images, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8", errors="backslashreplace")
