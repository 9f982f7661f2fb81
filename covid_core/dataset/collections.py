"""Labelled chest radiographs of several collections as one table, with what each label can teach.

docs/DATA.md says where the collections come from and what their columns mean. Two questions are asked of a radiograph, and each
image answers those that its label can answer: `pattern`, does it show a pattern of pneumonia, and `covid`, if so, is it that of
COVID-19? The label of SIIM is a radiologist's reading of the appearance (Litmanovich et al. 2020,
https://doi.org/10.1097/RTI.0000000000000541), not a test: `typical` is COVID-19 in the sense of the second question,
`atypical` is another pneumonia, `indeterminate` answers the first question only.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from covid_core.dataset.duplicates import Limits, Progress, components, duplicate_pairs, fingerprint_files
from covid_core.dataset.labelled_folder import LABELS_NAME, read_labels
from covid_core.errors import DatasetError
from covid_core.paths import IMAGES_NAME

COLLECTIONS = ("siim", "adults", "auxiliary", "pretraining")
APPEARANCES = ("typical", "negative", "indeterminate", "atypical")
SOURCES = {
    "siim": "SIIM-FISABIO-RSNA COVID-19 detection challenge 2021 (BIMCV, MIDRC-RICORD)",
    "nih": "NIH ChestX-ray8",
    "pakistan": "tuberculosis collection, clinics in Pakistan (identity unverified)",
    "hannover": "COVID-19 Chest X-Ray Image Repository (figshare 12580328)",
    "guangzhou": "paediatric radiographs of Kermany et al. 2018, Guangzhou",
}
LICENCES = {
    "siim": "non-commercial research only (RICORD: CC BY-NC 4.0; BIMCV and the challenge: research terms)",
    "nih": "public domain",
    "pakistan": "not stated",
    "hannover": "CC BY 4.0",
    "guangzhou": "CC BY 4.0",
}
TABLE_COLUMNS = (
    *("path", "source", "group", "site", "finding", "appearance", "known_positive", "child", "pattern", "covid"),
    *("opacities", "width", "height", "original_width", "original_height"),
)

_COPY_LIMITS = Limits(candidates=0.85)  # a cropped copy correlates with 0.875 as a whole; see `duplicates`


def read_collections(folder: Path) -> pd.DataFrame:
    """Read those of `COLLECTIONS` that a folder holds, at least one.

    Returns:
        One row an image with `TABLE_COLUMNS`: `path`; `source`, a key of `SOURCES`; `group`, its patient as far as known, else
        the image itself; `site`, the hospital group inferred for SIIM, else empty; `finding` or appearance as the collection
        words it; `appearance`, one of `APPEARANCES` or empty; `known_positive`, whether a negative image is of a patient known to
        have COVID-19; `child`; `pattern` and `covid`, 1.0, 0.0 or NaN; `opacities`, boxes `x,y,w,h` in pixels of the file joined
        by `;`; and the four sizes in pixels, NaN where unknown.

    Raises:
        DatasetError: there is no collection, or one is no table, or lacks a column or an image.
    """
    present = [name for name in COLLECTIONS if (folder / name / LABELS_NAME).is_file()]
    if not present:
        raise DatasetError(
            f"{folder} holds none of the collections {', '.join(COLLECTIONS)} (each {LABELS_NAME} beside {IMAGES_NAME}/). "
            "docs/DATA.md says how to lay them out."
        )
    return pd.concat([_read(folder / name, name) for name in present], ignore_index=True)[list(TABLE_COLUMNS)]


def group_copies(
    images: pd.DataFrame, judged: Sequence[Path], progress: Progress | None = None
) -> tuple[pd.DataFrame, int]:
    """Leave out copies of images that a model is judged on, and give near duplicates of different patients one group.

    Returns:
        The images that stay, with their groups, and how many were left out.
    """
    count = len(images)
    fingerprints = fingerprint_files([*map(Path, images["path"]), *judged])
    pairs = duplicate_pairs(fingerprints, _COPY_LIMITS, progress)
    copied = np.zeros(count, np.bool_)
    copied[[first for first, second in pairs if first < count <= second]] = True
    _, group = np.unique(images["group"].to_numpy(np.str_), return_inverse=True)
    same_picture = [(first, second) for first, second in pairs if second < count]
    same_patient = [(int(index), count + int(number)) for index, number in enumerate(group)]
    joined = components(count + int(group.max()) + 1, same_picture + same_patient)[:count]
    kept = images.assign(group=joined.astype(np.str_))[~copied].reset_index(drop=True)
    return kept, int(copied.sum())


def _read(folder: Path, name: str) -> pd.DataFrame:
    columns = {"siim": ["appearance", "patientid", "site", "opacities"], "adults": ["finding", "source"]}
    table, paths = read_labels(folder, ["filename", *columns.get(name, ["finding"])])
    table = table.astype("object")
    rows = pd.DataFrame(dict.fromkeys(TABLE_COLUMNS, ""), index=table.index).astype("object")
    rows["path"] = [str(one) for one in paths]
    rows["group"] = table["filename"]
    rows[["pattern", "covid"]] = np.nan
    for side in ("width", "height", "original_width", "original_height"):
        rows[side] = pd.to_numeric(table[side], errors="coerce") if side in table else np.nan
    rows["child"], rows["known_positive"] = name == "pretraining", False
    return (_siim if name == "siim" else _other)(rows, table, name)


def _siim(rows: pd.DataFrame, table: pd.DataFrame, _name: str) -> pd.DataFrame:
    appearance = table["appearance"]
    unknown = sorted(set(appearance) - set(APPEARANCES))
    if unknown:
        raise DatasetError(f"`appearance` must be {', '.join(APPEARANCES)}. Received: {', '.join(unknown)}")
    return rows.assign(
        source="siim",
        group=table["patientid"],
        site=table["site"],
        finding=appearance,
        appearance=appearance,
        known_positive=table.get("positive_patient", pd.Series("", table.index)) == "yes",
        pattern=(appearance != "negative").astype(float),
        covid=appearance.map({"typical": 1.0, "atypical": 0.0}),
        opacities=table["opacities"],
    )


def _other(rows: pd.DataFrame, table: pd.DataFrame, name: str) -> pd.DataFrame:
    finding = table["finding"]
    said = table.get("source", pd.Series("", table.index))
    choices = [said.str.startswith("NIH"), said.str.contains("figshare")]
    source = "guangzhou" if name == "pretraining" else np.select(choices, ["nih", "hannover"], "pakistan")
    normal, covid = finding.isin(["Normal", "No Finding"]), finding == "COVID-19"
    ill = ~normal & ~covid
    # A positive test does not say that the radiograph shows anything: COVID-19 answers the second question only.
    pattern = np.select([normal, ill], [0.0, 1.0], np.nan)
    return rows.assign(
        source=source, finding=finding, pattern=pattern, covid=np.select([covid, ill], [1.0, 0.0], np.nan)
    )
