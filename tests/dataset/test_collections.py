"""What the label of each collection teaches, and that nothing that is judged is learned from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from covid_core.dataset.collections import LICENCES, SOURCES, group_copies, read_collections
from covid_core.errors import DatasetError
from tests.made_up_collections import (
    FIGSHARE,
    NIH,
    PAKISTAN,
    hash_of,
    picture,
    siim_row,
    write_collection,
    write_collections,
)

COLUMNS = {
    *("path", "source", "group", "site", "finding", "appearance", "known_positive", "child", "pattern", "covid"),
    *("opacities", "width", "height", "original_width", "original_height"),
}
UNKNOWN = None


def answers(table: pd.DataFrame) -> dict[str, tuple[float | None, float | None]]:
    """Name of the image -> its answers to the two questions, None where it has none."""
    rows = zip(table["path"], table["pattern"], table["covid"], strict=True)
    return {
        Path(path).name: tuple(UNKNOWN if np.isnan(value) else value for value in (pattern, covid))
        for path, pattern, covid in rows
    }


def read(folder: Path, name: str, *rows: dict[str, object]) -> pd.DataFrame:
    write_collection(folder / name, rows)
    return read_collections(folder)


def row_of(table: pd.DataFrame, name: str) -> pd.Series:
    (row,) = [row for _, row in table.iterrows() if Path(row["path"]).name == name]
    return row


def test_what_a_radiologist_read_answers_the_two_questions(tmp_path: Path) -> None:
    appearances = ("typical", "negative", "indeterminate", "atypical")
    table = read(tmp_path, "siim", *(siim_row(f"{name}.png", name, name, "S00") for name in appearances))
    assert answers(table) == {
        "typical.png": (1, 1),
        "negative.png": (0, UNKNOWN),
        "indeterminate.png": (1, UNKNOWN),
        "atypical.png": (1, 0),
    }
    assert table["appearance"].tolist() == table["finding"].tolist() == list(appearances)
    assert set(table["source"]) == {"siim"}


def test_findings_of_the_other_collections_answer_as_far_as_they_can(tmp_path: Path) -> None:
    """A positive test does not say that the radiograph shows anything."""
    adults = [("a.png", "Normal", NIH), ("b.png", "Tuberculosis", PAKISTAN), ("c.png", "Normal", PAKISTAN)]
    auxiliary = [("d.png", "COVID-19", FIGSHARE), ("e.png", "No Finding", NIH), ("f.png", "Pneumonia", NIH)]
    for name, rows in {"adults": adults, "auxiliary": auxiliary}.items():
        write_collection(
            tmp_path / name, [dict(zip(("filename", "finding", "source"), row, strict=True)) for row in rows]
        )
    children = [{"filename": "g.png", "finding": "No Finding"}, {"filename": "h.png", "finding": "Pneumonia"}]
    table = read(tmp_path, "pretraining", *children)
    assert answers(table) == {
        **{"a.png": (0, UNKNOWN), "b.png": (1, 0), "c.png": (0, UNKNOWN)},
        **{"d.png": (UNKNOWN, 1), "e.png": (0, UNKNOWN), "f.png": (1, 0)},
        **{"g.png": (0, UNKNOWN), "h.png": (1, 0)},
    }
    assert table["source"].tolist() == [
        "nih",
        "pakistan",
        "pakistan",
        "hannover",
        "nih",
        "nih",
        "guangzhou",
        "guangzhou",
    ]
    assert table["child"].tolist() == [False] * 6 + [True] * 2
    assert table["group"].nunique() == 8, "an image of no known patient is a group of its own"
    assert table[["width", "original_width"]].isna().all(axis=None)


def test_boxes_sizes_site_and_patient_of_siim_are_kept(tmp_path: Path) -> None:
    boxes = "47.4,35.0,61.8,115.4;135.1,35.6,65.8,105.9"
    table = read(
        tmp_path,
        "siim",
        siim_row("a.png", "typical", "p7", "S03", opacities=boxes, original_width=4256),
        siim_row("b.png", "negative", "p7", "", positive_patient="yes", original_width="", original_height=""),
    )
    first, second = (row for _, row in table.iterrows())
    assert (first["opacities"], first["group"], first["site"], first["original_width"]) == (boxes, "p7", "S03", 4256)
    assert (second["opacities"], second["group"], second["site"]) == ("", "p7", "")
    assert np.isnan(second["original_width"])
    assert np.isnan(second["original_height"])
    assert (first["known_positive"], second["known_positive"]) == (False, True)
    assert (first["width"], first["height"]) == (96, 96)


def test_a_folder_may_hold_some_of_the_collections_and_each_image_is_there(tmp_path: Path) -> None:
    folder = write_collections(tmp_path)
    table = read_collections(folder)
    assert set(table.columns) == COLUMNS
    assert {str(path) for path in folder.rglob("*.png")} == set(table["path"])
    assert table["path"].is_unique
    assert table["source"].value_counts().to_dict() == {
        "siim": 26 + 26 + 16 + 5,
        "nih": 6 + 8,
        "pakistan": 10,
        "hannover": 6,
        "guangzhou": 8,
    }
    assert set(table["source"]) == set(SOURCES) == set(LICENCES)
    (folder / "siim" / "labels.csv").unlink()
    assert set(read_collections(folder)["source"]) == {"nih", "pakistan", "hannover", "guangzhou"}


def test_a_folder_without_collections_is_refused_with_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"siim, adults, auxiliary, pretraining .*labels\.csv.*images/"):
        read_collections(tmp_path)


@pytest.mark.parametrize(
    ("name", "column"), [("siim", "appearance"), ("siim", "opacities"), ("adults", "source"), ("auxiliary", "finding")]
)
def test_a_table_that_lacks_a_column_is_refused_by_its_name(tmp_path: Path, name: str, column: str) -> None:
    folder = write_collections(tmp_path)
    path = folder / name / "labels.csv"
    pd.read_csv(path, dtype="str").drop(columns=column).to_csv(path, index=False)
    with pytest.raises(DatasetError, match=rf"{name}/labels\.csv lacks the column {column}\.$"):
        read_collections(folder)


def test_an_appearance_that_is_not_known_is_refused(tmp_path: Path) -> None:
    write_collection(tmp_path / "siim", [siim_row("a.png", "odd", "p", "S00")])
    with pytest.raises(DatasetError, match=r"typical, negative, indeterminate, atypical\. Received: odd"):
        read_collections(tmp_path)


def saved(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(path)
    return path


def test_copies_of_judged_images_are_left_out_whether_byte_for_byte_or_brighter(tmp_path: Path) -> None:
    folder = write_collections(tmp_path / "collections")
    same = saved(tmp_path / "same.png", picture(hash_of("tuberculosis-2.png")))
    brighter = picture(hash_of("child-P-3.png")).astype(float) * 0.8 + 40
    pale = saved(tmp_path / "pale.png", brighter.astype(np.uint8))
    other = saved(tmp_path / "other.png", picture(99))
    images = read_collections(folder)
    kept, left_out = group_copies(images, [same, pale, other])
    assert left_out == 2
    gone = set(images["path"]) - set(kept["path"])
    assert {Path(path).name for path in gone} == {"tuberculosis-2.png", "child-P-3.png"}
    assert kept.index.tolist() == list(range(len(images) - 2))
    pd.testing.assert_frame_equal(
        kept.drop(columns="group"),
        images[images["path"].isin(kept["path"])].drop(columns="group").reset_index(drop=True),
    )


def test_near_duplicates_of_two_patients_share_a_group_with_all_images_of_both(tmp_path: Path) -> None:
    shared = picture(5)
    write_collection(
        tmp_path / "siim",
        [
            siim_row("a0.png", "typical", "a", "S00"),
            siim_row("a1.png", "typical", "a", "S00"),
            siim_row("b0.png", "typical", "b", "S01"),
            siim_row("b1.png", "negative", "b", "S01"),
            siim_row("c0.png", "negative", "c", "S01"),
        ],
        {"a1.png": shared, "b0.png": (shared.astype(float) * 0.7 + 30).astype(np.uint8)},
    )
    kept, left_out = group_copies(read_collections(tmp_path), [])
    groups = [row_of(kept, name)["group"] for name in ("a0.png", "a1.png", "b0.png", "b1.png", "c0.png")]
    assert left_out == 0
    assert len(set(groups[:4])) == 1
    assert groups[4] != groups[0]


def test_patients_stay_apart_where_no_image_is_a_copy(tmp_path: Path) -> None:
    images = read_collections(write_collections(tmp_path))
    kept, left_out = group_copies(images, [])
    assert left_out == 0
    pairs = pd.DataFrame({"before": images["group"], "after": kept["group"]}).drop_duplicates()
    assert len(pairs) == images["group"].nunique() == kept["group"].nunique()


def test_the_real_collections_are_counted_as_their_description_says(shared_dir: Path) -> None:
    folder = shared_dir / "data"
    if not (folder / "siim" / "labels.csv").is_file():
        pytest.skip(f"the collections are not at {folder}")
    table = read_collections(folder)
    # data/README.md of the shared folder: 5,070 of SIIM; 1,500 of NIH and 600 of Pakistan in `adults`; 300 of NIH and 300 of
    # figshare in `auxiliary`; 2,400 children.
    assert table["source"].value_counts().to_dict() == {
        "siim": 5070,
        "nih": 1800,
        "pakistan": 600,
        "hannover": 300,
        "guangzhou": 2400,
    }
    assert table["child"].sum() == 2400
    siim = table[table["source"] == "siim"]
    assert siim["group"].nunique() == 2798
    assert set(siim["site"]) == {"", "S00", "S01", "S03", "S04", "S06", "S08"}
    assert (siim["appearance"] == "typical").sum() == siim["covid"].eq(1).sum() == 2470
    negative = table[table["pattern"] == 0]["source"].value_counts().to_dict()
    assert negative["nih"] == 1500 + 150
    assert negative["pakistan"] == 200
    assert negative["guangzhou"] == 618
    assert (table["source"].eq("pakistan") & table["covid"].eq(0)).sum() == 400
    assert (table["source"].eq("hannover") & table["covid"].eq(1) & table["pattern"].isna()).sum() == 300
    assert not siim.loc[siim["pattern"] == 0, "covid"].notna().any()
