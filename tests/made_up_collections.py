"""Made-up collections of chest radiographs, laid out as `covid_core.dataset.collections` reads them. NumPy and Pillow only."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

FIGSHARE = "COVID-19 Chest X-Ray Image Repository (figshare 12580328)"
NIH = "NIH ChestX-ray8 (RSNA 2018, class Normal)"
PAKISTAN = "tuberculosis collection, clinics in Pakistan (identity unverified)"
SIDE = 96
"""Of the pictures, pixels."""
BOX = "10,20,30,40"
"""Of the opacity in a SIIM image that has one: left, top, width, height."""

Row = Mapping[str, object]


def picture(seed: int, side: int = SIDE) -> np.ndarray:
    """A picture of soft patches that is no near duplicate of that of another seed: uint8 (side, side), darker than 200."""
    coarse = np.random.default_rng([20, seed]).integers(0, 200, (9, 9), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BILINEAR))


def write_collection(folder: Path, rows: Sequence[Row], pictures: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write `labels.csv` and `images/`.

    Args:
        folder: is made.
        rows: the table; `filename` names the images.
        pictures: file name -> picture, where it matters; the others are drawn from their names.
    """
    (folder / "images").mkdir(parents=True)
    for row in rows:
        name = str(row["filename"])
        drawn = (pictures or {}).get(name)
        Image.fromarray(picture(hash_of(name)) if drawn is None else drawn).save(folder / "images" / name)
    pd.DataFrame(list(rows)).to_csv(folder / "labels.csv", index=False)
    return folder


def hash_of(name: str) -> int:
    """A number from a name, the same in every process."""
    return int.from_bytes(name.encode()[-24:], "big")


def siim_row(name: str, appearance: str, patient: str, site: str, **others: object) -> Row:
    """A row of the SIIM collection; images that are not negative have one box."""
    return {
        "filename": name,
        "appearance": appearance,
        "patientid": patient,
        "site": site,
        "opacities": "" if appearance == "negative" else BOX,
        "width": SIDE,
        "height": SIDE,
        "original_width": 2000,
        "original_height": 2400,
        "positive_patient": "",
        **others,
    }


def write_collections(folder: Path) -> Path:
    """Write all four collections, small enough to train on within seconds.

    SIIM: sites S00 and S01 with 10 typical and 10 negative images of 12 patients each, 3 indeterminate and 3 atypical ones; S03
    with half of that; three images without a site. Patient `S00-p0` has further images at S03 and of no site; patient `S01-p0`
    one at S03. Where a box is, the image is bright.
    """
    rows, pictures = [], {}
    for site, count in (("S00", 10), ("S01", 10), ("S03", 5)):
        for appearance, images in (("typical", count), ("negative", count), ("indeterminate", 3), ("atypical", 3)):
            for number in range(images):
                patient = f"{site}-p{number // 2 if appearance == 'typical' else appearance[0] + str(number)}"
                known = "yes" if appearance == "negative" and number == 0 else ""
                size = {"original_width": 2000 + 500 * (number % 2), "original_height": 2400}
                rows.append(
                    siim_row(
                        f"{site}-{appearance}-{number}.png", appearance, patient, site, positive_patient=known, **size
                    )
                )
    rows += [
        siim_row("straddling-0.png", "typical", "S00-p0", "S03"),
        siim_row("straddling-1.png", "negative", "S00-p0", "", positive_patient="yes"),
        siim_row("straddling-2.png", "typical", "S01-p0", "S03"),
        siim_row("nowhere-0.png", "typical", "no-p0", ""),
        siim_row("nowhere-1.png", "negative", "no-p1", ""),
    ]
    for row in rows:
        name = str(row["filename"])
        pictures[name] = with_opacity(picture(hash_of(name))) if row["opacities"] else picture(hash_of(name))
    write_collection(folder / "siim", rows, pictures)
    adults = [(f"nih-normal-{number}.png", "Normal", NIH) for number in range(6)]
    adults += [(f"tuberculosis-{number}.png", "Tuberculosis", PAKISTAN) for number in range(6)]
    adults += [(f"pakistan-normal-{number}.png", "Normal", PAKISTAN) for number in range(4)]
    auxiliary = [(f"figshare-{number}.png", "COVID-19", FIGSHARE) for number in range(6)]
    auxiliary += [(f"nih-none-{number}.png", "No Finding", "NIH ChestX-ray8") for number in range(4)]
    auxiliary += [(f"nih-pneumonia-{number}.png", "Pneumonia", "NIH ChestX-ray8") for number in range(4)]
    for name, three in (("adults", adults), ("auxiliary", auxiliary)):
        write_collection(
            folder / name, [dict(zip(("filename", "finding", "source"), row, strict=True)) for row in three]
        )
    children = [
        (f"child-{finding[0]}-{number}.png", finding) for finding in ("No Finding", "Pneumonia") for number in range(4)
    ]
    write_collection(folder / "pretraining", [dict(zip(("filename", "finding"), row, strict=True)) for row in children])
    return folder


def with_opacity(image: np.ndarray) -> np.ndarray:
    """The picture, white where `BOX` is."""
    left, top, width, height = (int(value) for value in BOX.split(","))
    changed = image.copy()
    changed[top : top + height, left : left + width] = 255
    return changed
