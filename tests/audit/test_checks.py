"""The checks of an audit, on tables and drawn images with faults put in one by one; every expected row was counted by eye."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_core.audit import files
from covid_core.audit.checks import parse_date
from covid_core.audit.finding import Audit
from covid_core.audit.render import audit_json
from covid_core.audit.run import audit_dataset
from covid_core.cli.main import main
from covid_core.dataset import image_cache
from covid_core.dataset.image_cache import ImageCache
from covid_core.dataset.metadata import MOST_UNREADABLE
from tests.audit.tables import COVID, OTHER, audited, table_of
from tests.phantom import phantom_image

READING_CHECKS = ("unreadable_files", "file_types", "exact_duplicates", "near_duplicates", "duplicates_across_patients")


def found(audit: Audit, check: str) -> tuple[str, int, list[tuple[int, str]]]:
    """Severity and count of a finding, and its rows: number and text."""
    finding = audit.of(check)
    return finding.severity, finding.count, list(zip(finding.rows.index, finding.rows["what"], strict=True))


@pytest.mark.parametrize(
    ("check", "column", "values", "severity", "expected"),
    [
        ("ages", "age", (-1, 121, 120, 0, ""), "error", {0: "age -1 years", 1: "age 121 years"}),
        ("offsets", "offset", (-360, 3651, -4000, ""), "error", {1: "offset 3651 days", 2: "offset -4000 days"}),
        ("views", "view", ("AP Erect", "", "PA"), "warning", {0: "view: AP Erect", 1: "no view is given"}),
        ("modalities", "modality", ("MRI", "", "x-ray"), "warning", {0: "modality: MRI", 1: "no modality is given"}),
        ("findings", "finding", ("Pneumonia/Rhino", "COVID-19, ARDS", "todo"), "warning", {0: "finding: Rhino"}),
        ("findings", "finding", ("Viral/COVID19", "COVID-19/Covid-new"), "error",
         {0: "finding: COVID19 (counts as Not COVID-19)", 1: "finding: Covid-new"}),
        ("unreadable_numbers", "age", ("56 years", "45,5", "", "n/a", "045Y"), "warning", {0: "age: 56 years", 4: "age: 045Y"}),
        ("escaping_names", "filename", ("../a.png", "/etc/passwd", "..\\a.png", "../a.png", "a.png", ""), "error",
         dict.fromkeys(range(4), "not a plain name inside the folder")),
        ("repeated_names", "filename", ("a.png", "a.png", "", ""), "warning", {1: "named in an earlier row"}),
        ("dates", "date", ("2999", "1890", "2018", "January 12", "2020-03-04 10:00"), "error",
         {0: "2999 is in the future", 1: "1890 is before the first X-ray"}),
        ("unclear_dates", "date", ("January 12", "last spring", "2019-20", "Feb 30, 2020", "March 2020", ""), "notice",
         {0: "date: January 12", 1: "date: last spring", 2: "date: 2019-20", 3: "date: Feb 30, 2020"}),
    ],
)  # fmt: skip
def test_a_check_of_a_column_finds_its_rows_and_no_others(
    check: str, column: str, values: tuple[object, ...], severity: str, expected: dict[int, str]
) -> None:
    audit = audited(*({column: value} for value in values))
    assert found(audit, check) == (severity, len(expected), list(expected.items()))


@pytest.mark.parametrize(
    ("check", "header", "rows", "severity", "expected"),
    [
        ("both_labels", "patientid finding modality", ["a C X-ray", "a O X-ray", "b C X-ray", "b O CT"], "warning",
         (1, [(0, "COVID-19"), (1, "Not COVID-19")])),
        ("no_finding_of_covid_patients", "patientid finding view", ["a C Axial", "a N PA", "b N PA", "a N L"], "warning",
         (1, [(1, "No Finding, COVID-19 on another image")])),
        ("measurements", "temperature pO2_saturation", ["95 340", "38.5 92"], "warning",
         (1, [(0, "temperature 95 °C"), (0, "oxygen saturation 340 %")])),
        ("dates", "date finding", ["2018 C", "2018 O", "2019 C", "2019-11 C", "2019-12 C"], "error",
         (2, [(0, "2018 is before the first case of COVID-19"), (3, "2019-11 is before the first case of COVID-19")])),
        ("one_class_sources", "url finding", ["//a C", "//a O", "//b C", "//b C", "//c O", "//d todo"], "warning",
         (2, [(2, "b: COVID-19"), (3, "b: COVID-19"), (4, "c: Not COVID-19")])),
    ],
)  # fmt: skip
def test_a_check_of_several_columns_finds_its_rows_and_no_others(
    check: str, header: str, rows: list[str], severity: str, expected: tuple[int, list[tuple[int, str]]]
) -> None:
    words = {"C": COVID, "O": OTHER, "N": "No Finding"}
    cells = [[words.get(cell, cell.replace("//", "https://")) for cell in row.split()] for row in rows]
    audit = audited(*(dict(zip(header.split(), row, strict=True)) for row in cells))
    assert found(audit, check) == (severity, *expected)


def test_of_very_many_unreadable_numbers_the_first_are_listed_and_those_of_chosen_rows_stay_with_them() -> None:
    _, count, rows = found(audited(*[{"age": "old"}] * (MOST_UNREADABLE + 5)), "unreadable_numbers")
    assert (count, len(rows)) == (MOST_UNREADABLE + 5, MOST_UNREADABLE)
    part = table_of({"age": "old"}, {}, {"age": "young"}).iloc[1:]
    finding = audit_dataset(None, table=part).of("unreadable_numbers")
    assert finding.rows[["filename", "what"]].to_numpy().tolist() == [["image-2.png", "age: young"]]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2016", "2016-01-01", "2016-12-31"),
        ("Feb 2020", "2020-02-01", "2020-02-29"),
        ("September 16, 2009", "2009-09-16", "2009-09-16"),
        ("3/4/2020", "2020-03-04", "2020-03-04"),
        ("31/3/2020", "2020-03-31", "2020-03-31"),
        ("2020-03-04T10:00:59.5+01:00", "2020-03-04", "2020-03-04"),
    ],
)
def test_a_date_spans_from_its_first_day_to_its_last(text: str, first: str, last: str) -> None:
    period = parse_date(text)
    assert period is not None
    assert (str(period.asfreq("D", "start")), str(period.asfreq("D", "end"))) == (first, last)


@pytest.mark.parametrize("text", ["", "nan", "10", "March 3" + " " * 100_000 + "x", "9" * 100_000])
def test_what_is_no_date_with_a_year_is_none(text: str) -> None:
    assert parse_date(text) is None


@pytest.mark.parametrize("images", ["missing", "empty", "of others"])
def test_a_collection_without_a_single_image_is_an_error_unless_the_table_alone_is_asked_for(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if images != "missing":
        (tmp_path / "images").mkdir()
    if images == "of others":
        (tmp_path / "images" / "other.png").write_bytes(b"named by no row")
    table_of({}).drop(columns=["label", "source"]).to_csv(tmp_path / "metadata.csv", index=False)
    audit = audit_dataset(tmp_path)
    assert found(audit, "missing_files") == ("error", 1, [(0, "not there")])
    assert [audit.of(check).checked for check in READING_CHECKS] == [False] * 5
    command = ["audit", "--collection", str(tmp_path), "--json", "--no-cache"]
    assert main(command) == 1
    assert main([*command, "--table-only"]) == 0
    alone = json.loads(capsys.readouterr().out.splitlines()[1])
    assert {one["check"] for one in alone["findings"] if not one["checked"]} >= {"missing_files", *READING_CHECKS}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven files with a fault or a twin each, and one image that is as it should be."""
    folder = tmp_path_factory.mktemp("collection")
    images = folder / "images"
    images.mkdir()
    (folder / "secret.png").write_bytes(b"not to be opened")
    rng = np.random.default_rng(4)
    drawn = [Image.fromarray(phantom_image(rng, "covid", 128)) for _ in range(3)]
    for number, image in enumerate(drawn):
        image.save(images / f"image-{number}.png")
    (images / "same.png").write_bytes((images / "image-0.png").read_bytes())
    drawn[1].save(images / "again.jpg", "JPEG", quality=60)
    drawn[2].point([round(30 + 0.8 * grey) for grey in range(256)]).save(images / "pale.png")
    Image.fromarray(phantom_image(rng, "covid", 128)).save(images / "named.jpg", "PNG")
    (images / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more of it")
    rows: list[dict[str, object]] = [
        {"filename": name, "patientid": patient, "finding": finding}
        for name, patient, finding in [
            *(("image-0.png", "a", COVID), ("image-1.png", "b", COVID), ("image-2.png", "c", COVID)),
            *(("same.png", "d", OTHER), ("again.jpg", "b", COVID), ("pale.png", "e", COVID)),
            *(("named.jpg", "f", COVID), ("damaged.png", "g", COVID), ("absent.png", "h", COVID)),
            ("../secret.png", "i", COVID),
        ]
    ]
    rows += [{"filename": "volume.nii.gz", "folder": "volumes", "modality": "CT"}, {"filename": ""}]
    table_of(*rows).drop(columns=["label", "source"]).to_csv(folder / "metadata.csv", index=False)
    return folder


def test_every_fault_of_a_file_is_found(collection: Path) -> None:
    audit = audit_dataset(collection)
    assert found(audit, "missing_files") == (
        "warning",
        3,
        [(8, "not there"), (10, "not there (folder volumes)"), (11, "no file name is given")],
    )
    assert found(audit, "unreadable_files")[:2] == ("error", 1)
    assert audit.of("unreadable_files").rows["filename"].tolist() == ["damaged.png"]
    assert found(audit, "file_types") == ("notice", 1, [(6, "named JPEG, holds PNG")])
    assert found(audit, "exact_duplicates") == (
        "warning",
        1,
        [(0, "same content as same.png"), (3, "same content as image-0.png")],
    )
    assert found(audit, "near_duplicates")[:2] == ("warning", 2)
    assert audit.of("near_duplicates").rows.index.tolist() == [1, 4, 2, 5]
    assert found(audit, "duplicates_across_patients") == (
        "error",  # one image has both labels
        2,
        [
            (0, "COVID-19: same content as same.png"),
            (3, "Not COVID-19: same content as image-0.png"),
            (2, "almost the same picture as pale.png"),
            (5, "almost the same picture as image-2.png"),
        ],
    )


def test_progress_is_reported_for_each_file_and_image_and_may_stop_the_audit(collection: Path) -> None:
    read: list[tuple[int, int]] = []
    compared: list[tuple[int, int]] = []

    def stop(*_: object) -> None:
        raise InterruptedError

    audit_dataset(collection, progress=lambda *call: read.append(call), comparing=lambda *call: compared.append(call))
    assert read == [(done, 8) for done in range(1, 9)]
    assert compared == [(done, 7) for done in range(1, 8)]
    with pytest.raises(InterruptedError):
        audit_dataset(collection, progress=stop)
    with pytest.raises(InterruptedError):
        audit_dataset(collection, comparing=stop)


def test_a_second_audit_decodes_nothing_again_and_finds_the_same(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COVID_CACHE_DIR", str(tmp_path / "cache"))
    command = ["audit", "--collection", str(collection), "--json"]
    assert main([*command, "--no-cache"]) == 1
    assert not (tmp_path / "cache").exists()
    without = capsys.readouterr().out
    assert main(command) == 1
    assert capsys.readouterr().out == without
    monkeypatch.setattr(image_cache, "thumbnail", None)
    cache = ImageCache(tmp_path / "cache" / image_cache.CACHE_NAME)
    assert audit_json(audit_dataset(collection, fingerprints=cache.fingerprints)) == without.strip()


def draw(folder: Path, *seeds: int) -> None:
    """Images image-0.png, image-1.png, …; those of one seed have the same content."""
    (folder / "images").mkdir()
    for number, seed in enumerate(seeds):
        image = phantom_image(np.random.default_rng(seed), "covid", 128)
        Image.fromarray(image).save(folder / "images" / f"image-{number}.png")


def test_both_classes_are_found_anywhere_among_files_of_one_content(tmp_path: Path) -> None:
    """Content 1 has both classes, but neither with its first file, which has none; content 2 has one, content 3 one patient.

    A file is named beside one of another patient if there is such.
    """
    (tmp_path / "images").mkdir()
    for number, seed in enumerate((1, 1, 1, 2, 2, 3, 3, 4, 5, 5, 5)):
        image = phantom_image(np.random.default_rng(seed), "covid", 128)
        Image.fromarray(image).save(tmp_path / "images" / f"image-{number}.png")
    findings = ("todo", COVID, OTHER, COVID, "todo", COVID, OTHER, *[COVID] * 4)
    rows = [{"patientid": one, "finding": finding} for one, finding in zip("abcdeffghhi", findings, strict=True)]
    audit = audit_dataset(tmp_path, table=table_of(*rows))
    severity, count, across = found(audit, "duplicates_across_patients")
    assert (severity, count, [row for row, _ in across]) == ("error", 3, [0, 1, 2, 3, 4, 8, 9, 10])
    assert [text for _, text in across[:3]] == [
        "no class: same content as image-1.png",
        "COVID-19: same content as image-0.png",
        "Not COVID-19: same content as image-0.png",
    ]
    assert [text for _, text in across[5:]] == [f"same content as image-{other}.png" for other in (10, 10, 8)]
    assert found(audit, "exact_duplicates")[1] == 6, "three files of one content are one and two repeats"


def test_too_many_images_are_compared_by_content_alone(collection: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_COMPARED", 6)
    audit = audit_dataset(collection)
    assert found(audit, "exact_duplicates")[1] == 1
    assert not audit.of("near_duplicates").checked
    assert [row for row, _ in found(audit, "duplicates_across_patients")[2]] == [0, 3]
    others = table_of(*({"filename": f"image-{number}.png"} for number in range(3)))
    monkeypatch.setattr(files, "MAX_COMPARED", 2)
    assert not audit_dataset(collection, table=others).of("duplicates_across_patients").checked, "not said to be absent"


def test_ct_slices_are_compared_by_content_alone(collection: Path) -> None:
    names = ("image-0.png", "same.png", "image-1.png", "again.jpg")
    audit = audit_dataset(collection, table=table_of(*({"filename": name, "modality": "CT"} for name in names)))
    assert (audit.of("exact_duplicates").count, audit.of("near_duplicates").count) == (1, 0)
