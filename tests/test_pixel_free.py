from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from covid_core.dataset.prepare import write_split
from covid_core.errors import ImageRefusedError
from covid_core.evaluation.shortcuts import image_facts, pixel_free_baselines
from tests.images.samples import dicom


def save(path: Path, kind: str, width: int, height: int, grey: int = 0) -> Path:
    """Write an image of some kind, whatever the name says."""
    if kind == "DICOM":
        path.write_bytes(dicom(np.full((height, width), grey, np.uint16)))
    else:
        Image.new("L", (width, height), grey).save(path, kind)
    return path


def test_width_height_and_type_come_from_the_content_and_not_from_the_name(tmp_path: Path) -> None:
    paths = [
        save(tmp_path / "named.jpg", "PNG", 40, 30),
        save(tmp_path / "named.png", "JPEG", 7, 50),
        save(tmp_path / "dicom.png", "DICOM", 60, 20),
    ]
    facts = image_facts(paths)
    assert list(facts.columns) == ["width", "height", "file_type"]
    assert facts.to_numpy().tolist() == [[40, 30, "PNG"], [7, 50, "JPEG"], [60, 20, "DICOM"]]


@pytest.mark.parametrize("content", [b"", b"a text", b"\x89PNG\r\n\x1a\ncut", bytes(128) + b"DICM"])
def test_a_file_whose_header_names_no_size_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(ImageRefusedError, match=r"broken\.png"):
        image_facts([tmp_path / "broken.png"])


N = 80


def write_prepared(folder: Path, source: np.ndarray, kinds: np.ndarray) -> tuple[Path, pd.DataFrame]:
    """A prepared dataset of 80 black films, every second one covid, two of a patient; and folds for it."""
    covid = np.arange(N) % 4 < 2
    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    sides = rng.integers(20, 40, (N, 2)).tolist()
    paths = [save(pictures / f"film-{index}.png", str(kinds[index]), *sides[index], grey=index) for index in range(N)]
    table = pd.DataFrame(
        {
            "filename": [path.name for path in paths],
            "patientid": np.arange(N) // 2,
            "label": np.where(covid, "covid", "non_covid"),
            "part": rng.choice(["train", "val", "test"], N),
            "sha256": "0" * 64,
            "group": np.arange(N) // 2,
            "source": source,
            "view": rng.choice(["PA", "AP"], N),
            "sex": rng.choice(["M", "F"], N),
            "age": rng.integers(20, 90, N),
        }
    )
    write_split(folder / "dataset", table, paths)
    folds = pd.DataFrame({"filename": table["filename"], "fold": np.arange(N) // 2 % 5})
    return folder / "dataset", folds.sample(frac=1, random_state=1)


COVID = np.arange(N) % 4 < 2
MIXED = np.where(np.random.default_rng(2).random(N) < 0.6, "a.org", "b.org")


def areas(found: dict[str, dict[str, dict[str, float]]], metric: str = "roc_auc") -> dict[str, float]:
    return {name: figures[metric]["value"] for name, figures in found.items() if metric in figures}


def test_a_source_that_equals_the_class_tells_it_and_nothing_else_does(tmp_path: Path) -> None:
    named = np.where(COVID, "covid-cases.org", "others.org")
    found = pixel_free_baselines(*write_prepared(tmp_path, named, np.full(N, "PNG")))
    assert list(found) == [
        "source",
        "view",
        "sex, age and view",
        "image size and file type",
        "source, sex, age, view, image size and file type",
    ]
    area = areas(found)
    assert area.pop("source") == 1.0
    assert area.pop("source, sex, age, view, image size and file type") > 0.95, "it knows the source as well"
    assert max(area.values()) < 0.75
    assert found["source"]["roc_auc"]["n"] == N


def test_a_file_type_that_equals_the_class_tells_it_within_a_source_as_well(tmp_path: Path) -> None:
    found = pixel_free_baselines(*write_prepared(tmp_path, MIXED, np.where(COVID, "JPEG", "PNG")))
    assert areas(found)["image size and file type"] == 1.0
    assert areas(found, "within_source_auc")["image size and file type"] == 1.0
    assert areas(found)["source"] < 0.75


def test_every_figure_has_its_interval_and_the_source_none_within_itself(tmp_path: Path) -> None:
    found = pixel_free_baselines(*write_prepared(tmp_path, MIXED, np.where(np.arange(N) == 3, "DICOM", "PNG")))
    assert set(found.pop("source")) == {"roc_auc"}
    for figures in found.values():
        assert set(figures) == {"roc_auc", "within_source_auc"}
        assert all(figure["lower"] < figure["value"] < figure["upper"] for figure in figures.values())
