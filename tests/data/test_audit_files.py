"""The checks of an audit that look at files, on drawn films with faults that were put into them one by one."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from covid_core.cli import main
from covid_core.data import audit_files, image_cache
from covid_core.data.audit import Audit, audit_dataset
from covid_core.data.audit_text import audit_record
from covid_core.data.image_cache import ImageCache
from covid_core.data.metadata import read_metadata
from tests.data.audited_tables import COVID, OTHER, names, table_of
from tests.phantom import phantom_film

READING_CHECKS = ("unreadable_files", "file_types", "exact_duplicates", "near_duplicates", "duplicates_across_patients")


def audited(folder: Path, *rows: dict[str, object]) -> Audit:
    return audit_dataset(folder, table=table_of(*rows))


def draw(folder: Path, *seeds: int) -> None:
    """Films film-0.png, film-1.png, …; those of one seed have the same content."""
    (folder / "images").mkdir()
    for number, seed in enumerate(seeds):
        film = phantom_film(np.random.default_rng(seed), "covid", 128)
        Image.fromarray(film).save(folder / "images" / f"film-{number}.png")


def test_names_that_leave_the_folder_are_errors_and_repeated_ones_warnings(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.png").write_bytes(b"not to be opened")
    audit = audited(
        tmp_path,
        {"filename": "../secret.png"},
        {"filename": "/etc/passwd"},
        {"filename": "..\\secret.png"},
        {"filename": "twice.png"},
        {"filename": "twice.png"},
        {"filename": ""},
    )
    assert names(audit.of("escaping_names")) == ["../secret.png", "/etc/passwd", "..\\secret.png"]
    assert audit.of("escaping_names").severity == "error"
    assert audit.of("repeated_names").rows.index.tolist() == [4]
    assert audit.of("missing_files").rows.index.tolist() == [3, 5]
    assert audit.of("unreadable_files").count == 0


@pytest.mark.parametrize("images", ["missing", "empty", "of others"])
def test_a_collection_without_a_single_image_is_an_error_and_its_table_is_audited(images: str, tmp_path: Path) -> None:
    if images != "missing":
        draw(tmp_path)
    if images == "of others":
        (tmp_path / "images" / "other.png").write_bytes(b"named by no row")
    audit = audited(tmp_path, {"finding": COVID}, {"patientid": "0", "age": 200})
    missing = audit.of("missing_files")
    assert (missing.severity, missing.count, names(missing)) == ("error", 2, ["film-0.png", "film-1.png"])
    assert "Not one is there" in missing.sentence
    for check in READING_CHECKS:
        found = audit.of(check)
        assert (found.checked, found.count) == (False, 0)
        assert found.sentence == "Not checked: no file of the table is there."
    assert audit.of("ages").count == audit.of("both_labels").count == 1


def test_the_table_alone_is_audited_if_that_is_asked_for_whether_or_not_there_are_images(tmp_path: Path) -> None:
    table = table_of({}, {"filename": "absent.png"})
    without = audit_dataset(tmp_path, table=table, table_only=True)
    draw(tmp_path, 1)
    audit = audit_dataset(tmp_path, table=table, table_only=True)
    assert audit_record(audit) == audit_record(without)
    for check in ("missing_files", *READING_CHECKS):
        assert audit.of(check).sentence == "Not checked: the table alone is audited."
    assert audit.at_least("notice") == ()


def test_the_command_fails_on_a_collection_without_images_unless_the_table_alone_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table_of({}).drop(columns=["label", "source"]).to_csv(tmp_path / "metadata.csv", index=False)
    command = ["audit", "--collection", str(tmp_path), "--json", "--no-cache"]
    assert main(command) == 1
    assert json.loads(capsys.readouterr().out)["findings"][2]["check"] == "missing_files"
    assert main([*command, "--table-only"]) == 0


def test_files_that_fetch_never_brings_are_counted_apart(tmp_path: Path) -> None:
    draw(tmp_path, 1)
    said = audited(tmp_path, {}, {}, {"folder": "volumes"}, {"folder": "volumes"}, {"folder": ""}).of("missing_files")
    assert (said.count, said.severity) == (4, "warning")
    assert said.sentence.endswith(
        "`fetch` brings what can be had, but not the 2 of another folder than images, such as CT volumes."
    )
    assert said.rows["what"].tolist() == ["not there", *["not there (folder volumes)"] * 2, "not there"]
    assert audited(tmp_path, {}, {}).of("missing_files").sentence.endswith("`fetch` brings what can be had.")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven files with a fault or a twin each, and one film that is as it should be."""
    folder = tmp_path_factory.mktemp("collection")
    images = folder / "images"
    images.mkdir()
    rng = np.random.default_rng(4)
    films = [Image.fromarray(phantom_film(rng, "covid", 128)) for _ in range(3)]
    for number, film in enumerate(films):
        film.save(images / f"film-{number}.png")
    (images / "same.png").write_bytes((images / "film-0.png").read_bytes())
    films[1].save(images / "again.jpg", "JPEG", quality=60)
    films[2].point([round(30 + 0.8 * grey) for grey in range(256)]).save(images / "pale.png")
    Image.fromarray(phantom_film(rng, "covid", 128)).save(images / "named.jpg", "PNG")
    (images / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more of it")
    rows = [
        ("film-0.png", "a", COVID),
        ("film-1.png", "b", COVID),
        ("film-2.png", "c", COVID),
        ("same.png", "d", OTHER),
        ("again.jpg", "b", COVID),
        ("pale.png", "e", COVID),
        ("named.jpg", "f", COVID),
        ("damaged.png", "g", COVID),
        ("absent.png", "h", COVID),
    ]
    table = pd.DataFrame(rows, columns=["filename", "patientid", "finding"]).assign(view="PA", modality="X-ray")
    table.to_csv(folder / "metadata.csv", index=False)
    return folder


def test_every_fault_of_a_file_is_found_and_each_file_read_once(collection: Path) -> None:
    calls: list[tuple[int, int]] = []
    audit = audit_dataset(collection, progress=lambda done, total: calls.append((done, total)))
    x_rays_read = 7
    assert calls == [(done, total) for total in (8, x_rays_read) for done in range(1, total + 1)]
    assert names(audit.of("missing_files")) == ["absent.png"]
    assert names(audit.of("unreadable_files")) == ["damaged.png"]
    assert audit.of("file_types").rows[["filename", "what"]].to_numpy().tolist() == [
        ["named.jpg", "named JPEG, holds PNG"]
    ]


def test_a_second_audit_reads_no_film_again_and_finds_the_same(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = audit_dataset(collection)
    # A file that is younger than the tick of its clock is read again; these are made old.
    for film in (collection / "images").iterdir():
        os.utime(film, (0, 0))
    second = audit_dataset(collection, fingerprints=ImageCache(tmp_path / "cache").fingerprints)

    def read(*_: object) -> None:
        raise AssertionError("a film was read again")

    for name in ("read_limited", "decode", "fingerprint_file"):
        monkeypatch.setattr(image_cache, name, read)
    third = audit_dataset(collection, fingerprints=ImageCache(tmp_path / "cache").fingerprints)
    assert audit_record(first) == audit_record(second) == audit_record(third)


def test_each_slow_step_is_announced_before_it_begins(collection: Path) -> None:
    told: list[str] = []
    audit_dataset(collection, say=told.append)
    # Of the 8 files one is damaged, so 7 pictures are left to compare.
    assert told[:3] == ["Reading 8 files", "Comparing 7 pictures with each other", "Reading the table"]


def test_what_a_sign_of_life_raises_ends_the_audit(collection: Path) -> None:
    def stop(*_: object) -> None:
        raise InterruptedError

    for sign in ({"progress": stop}, {"say": stop}):
        with pytest.raises(InterruptedError):
            audit_dataset(collection, **sign)  # type: ignore[arg-type]


def test_twins_are_told_by_content_by_appearance_and_across_patients(collection: Path) -> None:
    audit = audit_dataset(collection)
    assert audit.of("exact_duplicates").count == 1
    assert names(audit.of("exact_duplicates")) == ["film-0.png", "same.png"]
    assert audit.of("near_duplicates").count == 2
    assert names(audit.of("near_duplicates")) == ["film-1.png", "again.jpg", "film-2.png", "pale.png"]
    across = audit.of("duplicates_across_patients")
    assert names(across) == ["film-0.png", "same.png", "film-2.png", "pale.png"]
    assert across.rows["what"].tolist() == [
        "COVID-19: same content as same.png",
        "Not COVID-19: same content as film-0.png",
        "almost the same picture as pale.png",
        "almost the same picture as film-2.png",
    ]
    assert (across.count, across.severity) == (2, "error"), "one picture is labelled both ways"
    assert "1 group has contrary classes" in across.sentence


def test_contrary_classes_are_found_wherever_they_are_among_files_of_one_content(tmp_path: Path) -> None:
    """Content 1 has both classes, but neither with its first file, which has none; content 2 has one, content 3 one patient."""
    draw(tmp_path, 1, 1, 1, 2, 2, 3, 3, 4)
    patients = ("a", "b", "c", "d", "e", "f", "f", "g")
    findings = ("todo", COVID, OTHER, COVID, "todo", COVID, OTHER, COVID)
    rows = [{"patientid": one, "finding": finding} for one, finding in zip(patients, findings, strict=True)]
    across = audited(tmp_path, *rows).of("duplicates_across_patients")
    assert (across.count, across.severity) == (2, "error")
    assert across.sentence.startswith("2 groups of (almost) the same picture under different patients.")
    assert "1 group has contrary classes" in across.sentence
    assert names(across) == [f"film-{number}.png" for number in range(5)]
    assert across.rows["what"].tolist()[:3] == [
        "no class: same content as film-1.png",
        "COVID-19: same content as film-0.png",
        "Not COVID-19: same content as film-0.png",
    ]


def test_a_file_is_told_beside_one_of_another_patient_if_there_is_such(tmp_path: Path) -> None:
    draw(tmp_path, 1, 1, 1)
    across = audited(tmp_path, {"patientid": "a"}, {"patientid": "a"}, {"patientid": "b"}).of(
        "duplicates_across_patients"
    )
    assert across.count == 1
    assert across.rows["what"].tolist() == [f"same content as film-{other}.png" for other in (2, 2, 0)]


def test_too_many_pictures_are_compared_by_content_alone(collection: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_files, "MOST_COMPARED", 6)
    audit = audit_dataset(collection)
    assert audit.of("exact_duplicates").count == 1
    assert not audit.of("near_duplicates").checked
    assert "more than 6 pictures" in audit.of("near_duplicates").sentence
    across = audit.of("duplicates_across_patients")
    assert (across.count, names(across)) == (1, ["film-0.png", "same.png"])
    assert "Only files of the same content were looked for: more than 6 pictures" in across.sentence


def test_a_picture_under_two_patients_that_was_not_looked_for_is_not_said_to_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path, 1, 2, 3)
    monkeypatch.setattr(audit_files, "MOST_COMPARED", 2)
    across = audited(tmp_path, {}, {}, {}).of("duplicates_across_patients")
    assert (across.checked, across.count) == (False, 0)
    assert across.sentence.startswith("Not checked: no content is under different patients, but more than 2 pictures")


def test_ct_slices_are_compared_by_content_alone(collection: Path) -> None:
    table = read_metadata(collection / "metadata.csv").assign(modality="CT", view="Axial")
    audit = audit_dataset(collection, table=table)
    assert (audit.of("exact_duplicates").count, audit.of("near_duplicates").count) == (1, 0)


def test_three_files_of_one_content_are_one_and_two_repeats(tmp_path: Path) -> None:
    draw(tmp_path, 1, 1, 1)
    assert audited(tmp_path, {}, {}, {}).of("exact_duplicates").count == 2


def test_the_command_keeps_what_it_read_unless_told_not_to(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COVID_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["audit", "--collection", str(collection), "--json", "--no-cache"]) == 1
    without = capsys.readouterr().out
    assert not (tmp_path / "cache").exists()
    for _ in range(2):
        assert main(["audit", "--collection", str(collection), "--json"]) == 1
        assert capsys.readouterr().out == without
    assert any((tmp_path / "cache").iterdir())


def test_an_error_fails_the_command_by_default(collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--collection", str(collection)]) == 1
    assert "error: unreadable_files: 1 file cannot be read as a film." in capsys.readouterr().out
