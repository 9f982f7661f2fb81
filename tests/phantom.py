"""Synthetic chest films, and a synthetic dataset in the schema of the COVID-19 Image Data Collection.

Tests need no patient's image. The films are drawn by adding up what the beam passes through (Beer-Lambert: brightness is
1 - exp(-thickness)); they have the layout of a chest and the opacities that go with each class, and no anatomy beyond that.
NumPy and Pillow only.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Field = NDArray[np.float64]
Pair = tuple[float, float]


def phantom_film(rng: np.random.Generator, label: str, size: int = 160) -> NDArray[np.uint8]:
    """Draw a frontal chest film, uint8 (size, size), 0 black; the patient's left is on the right.

    `covid` has hazy patches in the periphery of both lungs; `non_covid` has one dense focus in one lung, or none.
    Position, build, ribs and exposure differ from film to film, so that two films are no near-duplicates.
    """
    x, y = _coordinates(rng, size)
    side, cage = np.abs(x), _cage_half_width(y)
    heart = _heart(x, y, rng.uniform(0.85, 1.12))
    lungs = _lungs(rng, x, y, cage) * (1 - heart)
    thickness = _soft_tissue(x, y) - 0.78 * lungs + 0.20 * heart * _smooth(0.75 - y, 0.1)
    thickness += _spine(side, y) + _ribs(rng, side, y, cage) + _shoulder_girdle(side, y)
    thickness += np.clip(1.6 * lungs, 0, 1) * (0.15 * _vessels(rng, x, y, size) + _opacities(rng, label, x, y, size))
    thickness -= 0.20 * np.exp(-(((x + 0.012) / 0.042) ** 4)) * _smooth(-0.20 - y, 0.08)  # the trachea
    thickness -= 0.22 * _blob(x, y, (0.38, 0.80), (0.14, 0.07))  # air in the stomach, below the left dome
    return _exposed(rng, thickness * (0.85 + 0.3 * _cloud(rng, size, 4)), size)


def _coordinates(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Where each pixel lies in the drawn chest, [-1, 1] and a little beyond: nobody is built, or stands, alike."""
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(axis, axis)
    turn, bend, taper = rng.normal(0, 0.045), rng.normal(0, 0.05), rng.normal(0, 0.05)
    (shift_x, shift_y), (zoom_x, zoom_y) = rng.normal(0, 0.05, 2), rng.uniform(0.86, 1.14, 2)
    x, y = x * np.cos(turn) - y * np.sin(turn) + shift_x, x * np.sin(turn) + y * np.cos(turn) + shift_y
    x, y = x * zoom_x * (1 + taper * y) + bend * y**2, y * zoom_y
    return x + 0.12 * (_cloud(rng, size, 5) - 0.5), y + 0.12 * (_cloud(rng, size, 5) - 0.5)


def _smooth(distance: Field, width: float) -> Field:
    """0 far outside (negative), 1 far inside."""
    return 1 / (1 + np.exp(-np.clip(distance / width * 4, -40, 40)))


def _blob(x: Field, y: Field, centre: Pair | tuple[Field, float], radii: Pair, softness: float = 0.35) -> Field:
    """An ellipse: 1 within, 0 without, falling over `softness` of its radius."""
    return _smooth(1 - np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1]), softness)


def _cage_half_width(y: Field) -> Field:
    """Of the rib cage: narrow at the apex, widest near the diaphragm."""
    return 0.74 * np.sqrt(np.clip(1 - (np.clip(0.42 - y, 0, None) / 1.22) ** 2.4, 0.0, 1))


def _soft_tissue(x: Field, y: Field) -> Field:
    neck_to_shoulder = 0.24 + 0.92 * _smooth(y + 0.82 - 0.10 * np.abs(x), 0.16)
    half_width = neck_to_shoulder - 0.24 * _smooth(y + 0.15, 0.45) + 0.04 * y
    return 1.12 * np.sqrt(np.clip(1 - (x / half_width) ** 2, 0, 1)) * (0.85 + 0.25 * _smooth(y - 0.5, 0.3)) + 0.02


def _lungs(rng: np.random.Generator, x: Field, y: Field, cage: Field) -> Field:
    """The share of the beam's way that is air; the left lung has less room, its dome stands lower."""
    side = np.abs(x)
    inner = 0.10 + 0.05 * _smooth(y - 0.1, 0.5)
    across = np.clip((side - inner) / np.maximum(cage - 0.03 - inner, 0.02), 0, 1)
    dome = np.where(x < 0, 0.50, 0.57) + rng.normal(0, 0.05) + 0.24 * ((side - 0.30) / 0.40) ** 2 * (side > 0.30)
    return (4 * across * (1 - across)) ** 0.40 * _smooth(dome - y, 0.05) * _smooth(y + 0.76, 0.10)


def _heart(x: Field, y: Field, scale: float) -> Field:
    """Heart, great vessels and aortic knob, as seen against the lungs."""
    turned_x, turned_y = (x - 0.13) * 0.87 + (y - 0.33) * 0.5, (y - 0.33) * 0.87 - (x - 0.13) * 0.5
    ventricle = _blob(turned_x, turned_y, (0, 0), (0.345 * scale, 0.25 * scale))
    atrium = _blob(x, y, (-0.06, 0.32), (0.17, 0.25))
    column = _smooth(0.105 + 0.06 * _smooth(y + 0.1, 0.3) - np.abs(x - 0.015), 0.07) * _smooth(y + 0.62, 0.25)
    knob = 0.9 * _blob(x, y, (0.085, -0.25), (0.12, 0.13))
    return np.maximum(np.maximum(ventricle, atrium), np.maximum(column, knob))


def _spine(side: Field, y: Field) -> Field:
    return 0.15 * _smooth(0.085 - side, 0.035) * (0.85 + 0.15 * np.cos(2 * np.pi * y / 0.125))


def _ribs(rng: np.random.Generator, side: Field, y: Field, cage: Field) -> Field:
    """Ten pairs behind, which fall outwards, and fainter ones in front, which fall inwards."""
    inside = _smooth(cage + 0.005 - side, 0.03)
    top, gap = rng.uniform(-0.86, -0.68), rng.uniform(0.118, 0.158)
    total = np.zeros_like(y)
    for number in range(10):
        posterior = top + gap * number - 0.10 * np.sin(np.pi * side / 0.5) + (0.35 + 0.045 * number) * side**2
        total += 0.105 * _bone(y - posterior, 0.026) * _smooth(side - 0.09, 0.03)
        anterior = top + 0.16 + gap * 1.12 * number + 0.55 * np.clip(0.75 - side, 0, None) ** 1.2
        total += 0.050 * _bone(y - anterior, 0.032) * _smooth(side - 0.30, 0.12) * (number < 7)
    return total * inside * _smooth(0.95 - y, 0.1)


def _bone(distance: Field, half_width: float) -> Field:
    """Across a bone: its cortex, at the rims, is denser than its marrow."""
    across = np.abs(distance) / half_width
    return _smooth(1 - across, 0.35) * (0.65 + 0.35 * np.clip(across, 0, 1) ** 2)


def _shoulder_girdle(side: Field, y: Field) -> Field:
    clavicle = -0.60 - 0.10 * np.sin((side - 0.08) * 5.2) - 0.12 * (side - 0.08)
    scapula = _blob(side, y, (0.80 - 0.12 * y, -0.38), (0.13, 0.36))
    humerus = _blob(side, y, (0.95, -0.52), (0.13, 0.13))
    return (
        0.20 * _bone(y - clavicle, 0.034) * _smooth(side - 0.07, 0.03) * _smooth(0.80 - side, 0.05)
        + 0.11 * scapula
        + 0.18 * humerus
    )


def _vessels(rng: np.random.Generator, x: Field, y: Field, size: int) -> Field:
    """Vessels that branch from both hila and thin out towards the periphery, in [0, 1]."""
    canvas = Image.new("L", (size, size))
    draw = ImageDraw.Draw(canvas)
    for sign in (-1, 1):
        row, column = np.unravel_index(np.argmin(np.hypot(x - sign * 0.21, y - 0.02)), (size, size))
        for angle in rng.uniform(-1.5, 1.5, 14):
            way = 0.10 * size * sign * np.exp(1j * sign * angle)  # across and down, as one complex number
            _branch(rng, draw, complex(column, row), complex(way), 0.011 * size)
    hila = _blob(np.abs(x), y, (0.20, 0.02), (0.09, 0.15))
    blurred = canvas.filter(ImageFilter.GaussianBlur(size * 0.003))
    return np.asarray(blurred, float) / 255 + 0.7 * hila * (0.6 + 0.8 * _cloud(rng, size, 24))


def _branch(rng: np.random.Generator, draw: ImageDraw.ImageDraw, start: complex, way: complex, width: float) -> None:
    """Draw a vessel from `start` along `way`, and the two it divides into."""
    size, end = draw.im.size[0], start + way
    grey = int(min(220, 40 + 16000 * width / size))
    draw.line([(start.real, start.imag), (end.real, end.imag)], fill=grey, width=max(1, round(width)))
    if abs(way) > size * 0.045:
        for turn in rng.normal(0, 0.42, 2):
            _branch(rng, draw, end, complex(way * rng.uniform(0.7, 0.9) * np.exp(1j * turn)), width * 0.68)


def _opacities(rng: np.random.Generator, label: str, x: Field, y: Field, size: int) -> Field:
    """What the disease adds: patchy haze at both sides (covid), or one dense focus or nothing."""
    haze = np.zeros_like(x)
    if label == "covid":
        for sign in (-1, 1):
            for _ in range(9):
                centre = sign * rng.uniform(0.36, 0.62), rng.uniform(-0.20, 0.48)
                haze += rng.uniform(0.08, 0.2) * _blob(
                    x, y, centre, (rng.uniform(0.10, 0.24), rng.uniform(0.10, 0.24)), 1.2
                )
        return np.minimum(haze, 0.5) * (0.3 + 0.7 * _cloud(rng, size, 14) + 0.5 * _cloud(rng, size, 45))
    if rng.random() < 0.6:
        centre = rng.choice([-1, 1]) * rng.uniform(0.28, 0.42), rng.choice([-0.25, 0.25]) + rng.normal(0, 0.06)
        haze = rng.uniform(0.38, 0.5) * _blob(x, y, centre, (rng.uniform(0.15, 0.22), rng.uniform(0.15, 0.22)), 0.9)
    return haze * (0.8 + 0.4 * _cloud(rng, size, 30))


def _cloud(rng: np.random.Generator, size: int, grains: int) -> Field:
    """Soft random texture in [0, 1] with so many grains a side."""
    coarse = Image.fromarray(rng.integers(0, 256, (grains, grains), np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), float) / 255


def _exposed(rng: np.random.Generator, thickness: Field, size: int) -> NDArray[np.uint8]:
    """Thickness to grey: attenuation, exposure, blur of the screen, grain of the quanta."""
    grey = 1 - np.exp(-rng.uniform(1.35, 1.65) * np.clip(thickness, 0, None))
    grey = np.clip((grey - 0.12) / 0.80, 0, 1) ** rng.uniform(0.95, 1.2)
    blurred = Image.fromarray(np.rint(grey * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(size * 0.0025))
    grain = rng.normal(0, 2.5 * (size / 512) ** 0.5 + 1, (size, size))
    return np.clip(np.asarray(blurred, float) + grain, 0, 255).astype(np.uint8)


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

    `n_patients` ordinary patients (ids from 1, odd ones covid, even ones non_covid; one to three films each), and then:

    - `missing`, `broken`: the file is not there; is no image.
    - `ct`, `lateral`, `todo`, `unknown`: a CT slice; a view `L`; no finding.
    - `resolved`: a COVID-19 film and a `No Finding` film.
    - `copy`, `pale`: the first film of patient 1 (covid), the same bytes; that of patient 2 (non_covid), brighter.
    - `volume`: a CT volume of folder `volumes`, without file.

    Args:
        folder: becomes the dataset folder.
        n_patients: ordinary patients, at least 2.
        seed: the same seed gives the same pictures and table.
        size: side of the films, pixels.

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
    for film in range(1 + number % 3):
        name = f"film-{number}-{film}.{'png' if (number + film) % 2 else 'jpg'}"
        _save(phantom_film(rng, label, size), images / name)
        view = ("PA", "AP", "AP Supine")[(number + film) % 3]
        rows.append(_row(number, findings[number // 2 % len(findings)], name, view=view, offset=film * 4, **about))
    return rows


def _troublesome_patients(rng: np.random.Generator, images: Path, size: int) -> list[dict[str, object]]:
    covid, other = COVID_FINDINGS[0], OTHER_FINDINGS[0]
    for name in ("ct.png", "lateral.png", "todo.png", "unknown.png"):
        _save(phantom_film(rng, "non_covid", size), images / name)
    _save(phantom_film(rng, "covid", size), images / "resolved-0.png")
    _save(phantom_film(rng, "non_covid", size), images / "resolved-1.png")
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more of it")
    (images / "copy.png").write_bytes((images / "film-1-0.png").read_bytes())
    with Image.open(images / "film-2-0.jpg") as film:
        film.point([round(40 + 0.7 * grey) for grey in range(256)]).save(images / "pale.jpg", quality=80)
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


def _save(film: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(film).save(path, quality=92)  # the PNG writer takes no notice of it
