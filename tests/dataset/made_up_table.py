"""A table of any length with the columns and the vocabulary of the collection, made up from a seed.

As in the collection: most patients have one image and some have several, which share their notes, place and source; about the
same share of each column is blank; over all rows, blanks included, the two notes are about as long.
"""

import csv
import io

import numpy as np

COLUMNS = (
    *("patientid", "offset", "sex", "age", "finding", "RT_PCR_positive", "survival", "intubated"),
    *("intubation_present", "went_icu", "in_icu", "needed_supplemental_O2", "extubated", "temperature"),
    *("pO2_saturation", "leukocyte_count", "neutrophil_count", "lymphocyte_count", "view", "modality", "date"),
    *("location", "folder", "filename", "doi", "url", "license", "clinical_notes", "other_notes", ""),
)
"""The header of the version with 950 rows, written down apart from the code that reads it; the last one has no name."""
FINDINGS = {
    "Pneumonia/Viral/COVID-19": 0.61,
    "Pneumonia": 0.09,
    "todo": 0.09,
    "Pneumonia/Bacterial/Streptococcus": 0.05,
    "Pneumonia/Fungal/Pneumocystis": 0.05,
    "Pneumonia/Viral/SARS": 0.05,
    "Tuberculosis": 0.03,
    "No Finding": 0.03,
}
_VIEWS = {"PA": 0.4, "AP": 0.25, "AP Supine": 0.2, "L": 0.08, "Axial": 0.05, "Coronal": 0.02}
_WORDS = (
    *("patient", "admitted", "with", "fever", "dry", "cough", "dyspnoea", "and", "bilateral", "opacities", "in", "the"),
    *("lower", "lobes", "oxygen", "saturation", "was", "reduced", "discharged", "after", "days", "no", "comorbidities"),
    *("radiograph", "shows", "peripheral", "consolidation", "intensive", "care", "1.5 mg/L,", "“ground-glass”"),
)
_PLACES = ("Cho Ray Hospital, Ho Chi Minh City, Vietnam", "Wuhan, China", "Milan, Italy", "Seville, Spain", "Unknown")
_LICENCES = ("CC BY-NC-SA", "CC BY", "CC0", "")
_CLINICAL_WORDS, _OTHER_WORDS = 47, 6  # of all rows; a blank counts none


def made_up_csv(rows: int, seed: int = 0) -> bytes:
    """Write a table, about 640 bytes a row, UTF-8, with commas and Windows line ends.

    Args:
        rows: how many images; patients are about two thirds of that.
        seed: the same one gives the same bytes.
    """
    rng = np.random.default_rng(seed)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    written = 0
    patient = 0
    while written < rows:
        patient += 1
        images = min(int(rng.geometric(0.68)), rows - written)
        person = _person(rng, patient)
        for image in range(images):
            writer.writerow(person | _image(rng, patient, image))
        written += images
    return text.getvalue().encode()


def _person(rng: np.random.Generator, patient: int) -> dict[str, object]:
    site = int(rng.integers(353))
    return {
        "patientid": patient,
        "sex": rng.choice(["M", "F", ""], p=[0.58, 0.34, 0.08]),
        "age": "" if rng.random() < 0.25 else int(rng.integers(18, 95)),
        "finding": rng.choice(list(FINDINGS), p=list(FINDINGS.values())),
        "RT_PCR_positive": rng.choice(["Y", "Unclear", ""], p=[0.55, 0.07, 0.38]),
        "survival": rng.choice(["Y", "N", ""], p=[0.3, 0.08, 0.62]),
        "went_icu": rng.choice(["Y", "N", ""], p=[0.22, 0.2, 0.58]),
        "date": "" if rng.random() < 0.3 else f"March {rng.integers(1, 31)}, 2020",
        "location": _PLACES[site % len(_PLACES)],
        "doi": f"10.1056/nejmc{2_000_000 + site}",
        "url": f"https://www.site{site % 40}.example/cases/corona-virus-disease/{patient}",
        "license": _LICENCES[site % len(_LICENCES)],
        "clinical_notes": "" if rng.random() < 0.19 else _prose(rng, round(_CLINICAL_WORDS / 0.81)),
        "other_notes": "" if rng.random() < 0.54 else _prose(rng, round(_OTHER_WORDS / 0.46)),
    }


def _image(rng: np.random.Generator, patient: int, image: int) -> dict[str, object]:
    view = rng.choice(list(_VIEWS), p=list(_VIEWS.values()))
    return {
        "offset": "" if rng.random() < 0.27 else image * 3 + int(rng.integers(0, 12)),
        "temperature": "" if rng.random() < 0.92 else round(float(rng.normal(38, 1)), 1),
        "view": view,
        "modality": "CT" if view in {"Axial", "Coronal"} else "X-ray",
        "folder": "images",
        "filename": f"{patient:06d}-{image}-{rng.integers(10**12):012d}.jpg",
    }


def _prose(rng: np.random.Generator, words: int) -> str:
    chosen = rng.integers(0, len(_WORDS), max(1, int(rng.normal(words, words / 4))))
    return " ".join([_WORDS[number] for number in chosen])
