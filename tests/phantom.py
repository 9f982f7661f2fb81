"""Synthetic chest radiographs, and a synthetic dataset in the schema of the COVID-19 Image Data Collection.

Tests need no patient's image. Brightness is 1 - exp(-thickness) of what the beam passes through (Beer-Lambert): a body, two
lungs, heart, spine and ribs, and the opacities that go with each class. NumPy and Pillow only.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float64]


def phantom_image(rng: np.random.Generator, label: str, size: int = 160) -> NDArray[np.uint8]:
    """Draw a frontal chest radiograph, uint8 (size, size), 0 black; the patient's left is on the right.

    `covid` has hazy patches in the periphery of both lungs; `non_covid` has one dense focus in one lung, or none.
    Position, build, ribs and exposure differ, so that two radiographs are no near-duplicates.
    """
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(axis, axis)
    (shift_x, shift_y, turn), (zoom_x, zoom_y) = rng.normal(0, 0.05, 3), rng.uniform(0.86, 1.14, 2)
    x, y = (x + turn * y + shift_x) * zoom_x, (y - turn * x + shift_y) * zoom_y
    x, y = (one + 0.12 * (_texture(rng, size, 5) - 0.5) for one in (x, y))
    side = np.abs(x)
    heart = _ellipse(x - 0.13 - 0.4 * (y - 0.3), y - 0.3, 0.27 * rng.uniform(0.85, 1.12), 0.3)
    dome = np.where(x < 0, 0.5, 0.57) + rng.normal(0, 0.05)
    lungs = _ellipse(side - 0.37, y + 0.05, 0.29, 0.75) * _step(dome - y) * (1 - heart)
    top, gap = rng.uniform(-0.9, -0.7), rng.uniform(0.125, 0.16)
    ribs = np.exp(-((((y - top + 0.3 * side - 0.8 * side**2 + gap / 2) % gap - gap / 2) / 0.03) ** 2))
    thickness = 1.15 * np.sqrt(np.clip(1 - (x / (0.95 - 0.68 * _step(-0.75 - y))) ** 2, 0, 1)) + 0.02
    thickness += 0.15 * heart - lungs * (0.8 - 0.15 * _texture(rng, size, 24) - _opacities(rng, label, x, y, size))
    thickness += 0.15 * _step(0.09 - side) + 0.11 * ribs * _step(0.75 - side) * _step(0.7 - y) * _step(side - 0.1)
    grey = 1 - np.exp(-rng.uniform(1.35, 1.65) * thickness * (0.85 + 0.3 * _texture(rng, size, 4)))
    grey = 255 * np.clip((grey - 0.12) / 0.8, 0, 1) ** rng.uniform(0.95, 1.2)
    return np.clip(grey + rng.normal(0, 2.5 * (size / 512) ** 0.5 + 1, grey.shape), 0, 255).astype(np.uint8)


def _step(distance: Field, width: float = 0.04) -> Field:
    """0 far outside (negative), 1 far inside."""
    return 1 / (1 + np.exp(-np.clip(distance / width * 4, -40, 40)))


def _ellipse(x: Field, y: Field, width: float, height: float, softness: float = 0.25) -> Field:
    """1 inside an ellipse around the origin, 0 outside, falling over `softness` of its radius."""
    return _step(1 - np.hypot(x / width, y / height), softness)


def _texture(rng: np.random.Generator, size: int, grains: int) -> Field:
    """Soft random texture in [0, 1] with so many grains a side."""
    coarse = Image.fromarray(rng.integers(0, 256, (grains, grains), np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), float) / 255


def _opacities(rng: np.random.Generator, label: str, x: Field, y: Field, size: int) -> Field:
    """What the disease adds: patchy haze in both lungs (covid), or one dense focus or nothing."""
    haze = np.zeros_like(x)
    if label == "covid":
        for sign in (-1, 1) * 9:
            centre, radii = (sign * rng.uniform(0.36, 0.62), rng.uniform(-0.2, 0.48)), rng.uniform(0.1, 0.24, 2)
            haze += rng.uniform(0.1, 0.26) * _ellipse(x - centre[0], y - centre[1], *radii, softness=1.2)
        return np.minimum(haze, 0.8) * (0.3 + 0.7 * _texture(rng, size, 14) + 0.5 * _texture(rng, size, 45))
    if rng.random() < 0.6:
        centre = rng.choice([-1, 1]) * rng.uniform(0.28, 0.42), rng.choice([-0.25, 0.25]) + rng.normal(0, 0.06)
        radii = rng.uniform(0.15, 0.22, 2)
        haze = rng.uniform(0.6, 0.8) * _ellipse(x - centre[0], y - centre[1], *radii, softness=0.9)
    return haze * (0.8 + 0.4 * _texture(rng, size, 30))


COLUMNS = (
    *("patientid", "offset", "sex", "age", "finding", "RT_PCR_positive", "survival", "intubated"),
    *("intubation_present", "went_icu", "in_icu", "needed_supplemental_O2", "extubated", "temperature"),
    *("pO2_saturation", "leukocyte_count", "neutrophil_count", "lymphocyte_count", "view", "modality", "date"),
    *("location", "folder", "filename", "doi", "url", "license", "clinical_notes", "other_notes", ""),
)
"""The header of the collection; the last column has no name."""

COVID_FINDINGS = ("Pneumonia/Viral/COVID-19", "COVID-19", "COVID-19, ARDS")
OTHER_FINDINGS = ("Pneumonia/Bacterial/Streptococcus", "Streptococcus", "Pneumonia/Viral/Herpes ", "No Finding", "SARS")
SOURCES = ("https://radiopaedia.org/cases/1", "https://www.eurorad.org/case/2", "https://github.com/x/y", "")


def write_phantom_dataset(folder: Path, *, n_patients: int = 24, seed: int = 0, size: int = 160) -> Path:
    """Write `metadata.csv` and `images/` with everything that trips people up in the real dataset, once each.

    `n_patients` ordinary patients (ids from 1, odd ones covid, even ones non_covid; one to three images each), and then:

    - `missing`, `broken`: the file is not there; is no image.
    - `ct`, `lateral`, `todo`, `unknown`: a CT slice; a view `L`; no finding.
    - `resolved`: a COVID-19 image and a `No Finding` image.
    - `copy`, `pale`: the first image of patient 1 (covid), the same bytes; that of patient 2 (non_covid), brighter.
    - `volume`: a CT volume of folder `volumes`, without file.

    Args:
        folder: becomes the dataset folder.
        n_patients: ordinary patients, at least 2.
        seed: the same seed gives the same pictures and table.
        size: side of the images, pixels.

    Returns:
        `folder`.
    """
    rng = np.random.default_rng(seed)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(1, n_patients + 1):
        rows += _ordinary_patient(rng, images, number, size)
    rows += _troublesome_patients(rng, images, size)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def _ordinary_patient(rng: np.random.Generator, images: Path, number: int, size: int) -> list[dict[str, object]]:
    label = "covid" if number % 2 else "non_covid"
    findings = COVID_FINDINGS if label == "covid" else OTHER_FINDINGS
    about = {"sex": str(rng.choice(["M", "F", ""])), "age": int(rng.integers(20, 90)), "url": SOURCES[number % 4]}
    rows = []
    for image in range(1 + number % 3):
        name = f"film-{number}-{image}.{'png' if (number + image) % 2 else 'jpg'}"
        _save(phantom_image(rng, label, size), images / name)
        view = ("PA", "AP", "AP Supine")[(number + image) % 3]
        rows.append(_row(number, findings[number // 2 % len(findings)], name, view=view, offset=image * 4, **about))
    return rows


def _troublesome_patients(rng: np.random.Generator, images: Path, size: int) -> list[dict[str, object]]:
    covid, other = COVID_FINDINGS[0], OTHER_FINDINGS[0]
    for name in ("ct.png", "lateral.png", "todo.png", "unknown.png"):
        _save(phantom_image(rng, "non_covid", size), images / name)
    _save(phantom_image(rng, "covid", size), images / "resolved-0.png")
    _save(phantom_image(rng, "non_covid", size), images / "resolved-1.png")
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more of it")
    (images / "copy.png").write_bytes((images / "film-1-0.png").read_bytes())
    with Image.open(images / "film-2-0.jpg") as image:
        image.point([round(40 + 0.7 * grey) for grey in range(256)]).save(images / "pale.jpg", quality=80)
    return [
        _row("missing", covid, "missing.png"),
        _row("broken", covid, "broken.png"),
        _row("ct", covid, "ct.png", view="Axial", modality="CT"),
        _row("lateral", covid, "lateral.png", view="L"),
        _row("todo", "todo", "todo.png"),
        _row("unknown", "Unknown", "unknown.png"),
        _row("resolved", covid, "resolved-0.png", offset=0),
        _row("resolved", "No Finding", "resolved-1.png", offset=20),
        _row("copy", covid, "copy.png"),
        _row("pale", other, "pale.jpg"),
        _row("volume", covid, "volume.nii.gz", view="Axial", modality="CT", folder="volumes"),
    ]


def _row(patient: object, finding: str, filename: str, **others: object) -> dict[str, object]:
    known = {"patientid": patient, "finding": finding, "filename": filename}
    return {"view": "PA", "modality": "X-ray", "folder": "images", "license": "CC0", "date": "2020"} | known | others


def _save(image: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(image).save(path, quality=92)  # the PNG writer takes no notice of it
