from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_core.dataset.duplicates import fingerprint_files
from covid_core.dataset.labelled_folder import read_labelled_folder, select, without_copies
from covid_core.errors import DatasetError
from tests.phantom import phantom_film

ROWS = "a.png,Tuberculosis,non_covid\nb.png,COVID-19,covid\nc.png,,\nd.png,NA,\n"


def write_folder(folder: Path, table: str = f"filename,finding,label\n{ROWS}", images: str = "abcd") -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "labels.csv").write_text(table, encoding="utf-8")
    for name in images:
        (folder / "images" / f"{name}.png").write_bytes(b"not looked at")
    return folder


def test_films_stand_in_the_order_of_the_table_beside_their_files(tmp_path: Path) -> None:
    found = read_labelled_folder(write_folder(tmp_path / "elsewhere"))
    assert (found.name, repr(found)) == ("elsewhere", "LabelledFolder('elsewhere', 4 films)")
    assert found.paths == tuple(tmp_path / "elsewhere" / "images" / f"{name}.png" for name in "abcd")
    assert found.table["label"].tolist() == ["non_covid", "covid", "", ""]


def test_blanks_stay_blank_and_the_text_na_stays_text(tmp_path: Path) -> None:
    found = read_labelled_folder(write_folder(tmp_path / "elsewhere"))
    assert found.table["finding"].tolist() == ["Tuberculosis", "COVID-19", "", "NA"]
    assert not found.table.isna().to_numpy().any()


def test_further_columns_are_left_aside_but_for_the_sources_each_named_once(tmp_path: Path) -> None:
    rows = "b.org,a.png,,covid,40\n,b.png,,covid,41\na.org,c.png,,covid,42\nb.org,d.png,,covid,43\n"
    found = read_labelled_folder(write_folder(tmp_path / "far", f"source,filename,finding,label,age\n{rows}"))
    assert list(found.table.columns) == ["filename", "finding", "label"]
    assert found.sources == ("a.org", "b.org")
    assert read_labelled_folder(write_folder(tmp_path / "near")).sources == ()


@pytest.mark.parametrize("table", ["filename,label\na.png,covid\n", "", "filename;finding;label\na.png;x;covid\n"])
def test_a_table_without_its_columns_is_refused_and_names_them(tmp_path: Path, table: str) -> None:
    with pytest.raises(DatasetError, match=r"labels\.csv is not a table with the columns filename, finding, label"):
        read_labelled_folder(write_folder(tmp_path / "elsewhere", table))


def test_a_folder_without_a_table_or_one_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"labels\.csv is not a table"):
        read_labelled_folder(tmp_path / "nowhere")
    folder = write_folder(tmp_path / "elsewhere")
    (folder / "labels.csv").write_bytes(b"\xff\xfe\x00filename")
    with pytest.raises(DatasetError, match=r"labels\.csv is not a table"):
        read_labelled_folder(folder)


def test_a_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    table = "filename,finding,label\na.png,x,covid\nb.png,x,COVID\nc.png,x,healthy\n"
    with pytest.raises(DatasetError, match=r"non_covid, covid or blank\. Received: COVID, healthy$"):
        read_labelled_folder(write_folder(tmp_path / "elsewhere", table))


@pytest.mark.parametrize("name", ["../labels.csv", "/etc/hosts", "deeper/a.png", ""])
def test_a_name_that_leaves_the_folder_of_images_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="plain name"):
        read_labelled_folder(write_folder(tmp_path / "elsewhere", f"filename,finding,label\n{name},x,covid\n"))


def test_missing_images_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"lacks 2 of its images, the first is b\.png"):
        read_labelled_folder(write_folder(tmp_path / "elsewhere", images="ad"))


def test_a_table_without_films_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        read_labelled_folder(write_folder(tmp_path / "elsewhere", "filename,finding,label\n"))


def test_films_that_are_elsewhere_as_well_are_left_out_even_resized_and_compressed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "far")
    films = [phantom_film(np.random.default_rng(seed), "covid", 256) for seed in range(4)]
    for name, film in zip("abcd", films, strict=True):
        Image.fromarray(film).save(folder / "images" / f"{name}.png")
    known = tmp_path / "known.jpg"
    Image.fromarray(films[2]).resize((200, 200)).save(known, quality=80)
    found = without_copies(read_labelled_folder(folder), fingerprint_files([known]))
    assert [path.name for path in found.paths] == ["a.png", "b.png", "d.png"]
    assert found.table["filename"].tolist() == ["a.png", "b.png", "d.png"]
    assert found.copies == 1


def test_some_films_can_be_chosen_by_a_flag_each(tmp_path: Path) -> None:
    found = select(read_labelled_folder(write_folder(tmp_path / "far")), [True, False, False, True])
    assert [path.name for path in found.paths] == found.table["filename"].tolist() == ["a.png", "d.png"]
