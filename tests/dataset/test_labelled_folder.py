from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_core.dataset.duplicates import fingerprint_files
from covid_core.dataset.labelled_folder import read_labelled_folder, select, without_copies
from covid_core.errors import DatasetError
from tests.phantom import phantom_image

ROWS = "a.png,Tuberculosis,non_covid\nb.png,COVID-19,covid\nc.png,,\nd.png,NA,\n"


def write_folder(folder: Path, table: str = f"filename,finding,label\n{ROWS}") -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "labels.csv").write_text(table, "utf-8", "surrogatepass")
    for name in "abcd":
        (folder / "images" / f"{name}.png").write_bytes(b"not looked at")
    return folder


def test_images_stand_in_the_order_of_the_table_beside_their_files_and_blanks_stay_blank(tmp_path: Path) -> None:
    found = read_labelled_folder(write_folder(tmp_path / "elsewhere"))
    assert (found.name, found.sources) == ("elsewhere", ())
    assert found.paths == tuple(tmp_path / "elsewhere" / "images" / f"{name}.png" for name in "abcd")
    assert found.table["label"].tolist() == ["non_covid", "covid", "", ""]
    assert found.table["finding"].tolist() == ["Tuberculosis", "COVID-19", "", "NA"]
    some = select(found, [True, False, False, True])
    assert [path.name for path in some.paths] == some.table["filename"].tolist() == ["a.png", "d.png"]


def test_further_columns_are_left_aside_but_for_the_sources_each_named_once(tmp_path: Path) -> None:
    rows = "b.org,a.png,,covid,40\n,b.png,,covid,41\na.org,c.png,,covid,42\nb.org,d.png,,covid,43\n"
    found = read_labelled_folder(write_folder(tmp_path / "far", f"source,filename,finding,label,age\n{rows}"))
    assert list(found.table.columns) == ["filename", "finding", "label"]
    assert found.sources == ("a.org", "b.org")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("filename,label\na.png,covid\n", r"labels\.csv lacks the column finding"),
        ("filename;finding;label\na.png;x;covid\n", "lacks the column filename, finding, label"),
        ("", r"labels\.csv cannot be read as a table"),
        ("\ud800", r"labels\.csv cannot be read as a table"),
        ("filename,finding,label\n", "has no images"),
        (
            "filename,finding,label\na.png,x,covid\nb.png,x,COVID\nc.png,x,healthy\n",
            r"non_covid, covid or blank\. Received: COVID, healthy$",
        ),
        ("filename,finding,label\n../labels.csv,x,covid\n", "plain name"),
        ("filename,finding,label\n/etc/hosts,x,covid\n", "plain name"),
        ("filename,finding,label\n,x,covid\n", "plain name"),
        ("filename,finding,label\ne.png,x,covid\nf.png,x,covid\n", r"lacks 2 of its images, the first is e\.png"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_what_is_wrong(tmp_path: Path, table: str, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        read_labelled_folder(write_folder(tmp_path / "elsewhere", table))
    with pytest.raises(DatasetError, match=r"labels\.csv cannot be read"):
        read_labelled_folder(tmp_path / "nowhere")


def test_images_that_are_elsewhere_as_well_are_left_out_even_resized_and_compressed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "far")
    images = [phantom_image(np.random.default_rng(seed), "covid", 256) for seed in range(4)]
    for name, image in zip("abcd", images, strict=True):
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
    known = tmp_path / "known.jpg"
    Image.fromarray(images[2]).resize((200, 200)).save(known, quality=80)
    found = without_copies(read_labelled_folder(folder), fingerprint_files([known]))
    assert [path.name for path in found.paths] == ["a.png", "b.png", "d.png"]
    assert found.table["filename"].tolist() == ["a.png", "b.png", "d.png"]
    assert found.copies == 1
