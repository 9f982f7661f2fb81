"""The audit, on tables written by hand; every expected count was counted in them by eye."""

import builtins
import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from covid_core.cli import main
from covid_core.data import audit_files, duplicates
from covid_core.data.audit import Audit, audit_dataset
from covid_core.data.audit_finding import Finding
from covid_core.data.audit_table import dated
from covid_core.data.audit_text import audit_record, summary_lines
from covid_core.data.metadata import read_metadata
from covid_core.errors import DatasetError
from tests.phantom import phantom_film

COVID, OTHER = "Pneumonia/Viral/COVID-19", "Pneumonia/Bacterial"
FILE_CHECKS = ("missing_files", "unreadable_files", "file_types", "exact_duplicates", "near_duplicates")


def table_of(*rows: dict[str, object]) -> pd.DataFrame:
    """A table of frontal X-rays of patients 0, 1, …, with what each row says otherwise."""
    plain = {"view": "PA", "modality": "X-ray", "finding": OTHER, "folder": "images"}
    given = [{"patientid": str(n), "filename": f"film-{n}.png"} | plain | row for n, row in enumerate(rows)]
    return read_metadata(pd.DataFrame(given).to_csv(index=False).encode())


def audited(tmp_path: Path, *rows: dict[str, object]) -> Audit:
    return audit_dataset(tmp_path, table=table_of(*rows))


def names(finding: Finding) -> list[str]:
    return finding.rows["filename"].tolist()


def test_a_patient_with_films_of_both_classes_is_counted_once(tmp_path: Path) -> None:
    found = audited(
        tmp_path,
        {"patientid": "a", "finding": COVID},
        {"patientid": "a", "finding": OTHER},
        {"patientid": "a", "finding": OTHER},
        {"patientid": "b", "finding": COVID},
        {"patientid": "c", "finding": COVID},
        {"patientid": "c", "finding": OTHER, "modality": "CT", "view": "Axial"},
    ).of("both_labels")
    assert (found.count, found.severity) == (1, "warning")
    assert names(found) == ["film-0.png", "film-1.png", "film-2.png"]
    assert found.rows["what"].tolist() == ["COVID-19", "Not COVID-19", "Not COVID-19"]
    assert found.sentence.startswith("1 patient has frontal films of both classes.")


def test_no_finding_films_of_covid_patients_are_told_even_if_the_covid_image_is_a_ct(tmp_path: Path) -> None:
    found = audited(
        tmp_path,
        {"patientid": "a", "finding": COVID, "modality": "CT", "view": "Axial"},
        {"patientid": "a", "finding": "No Finding"},
        {"patientid": "b", "finding": "No Finding"},
        {"patientid": "a", "finding": "No Finding", "view": "L"},
    ).of("no_finding_of_covid_patients")
    assert names(found) == ["film-1.png"]
    assert found.rows["what"].tolist() == ["No Finding, COVID-19 on another image"]


def test_impossible_ages_and_offsets_are_errors_and_blanks_are_not(tmp_path: Path) -> None:
    audit = audited(
        tmp_path,
        {"age": -1, "offset": -360},
        {"age": 121, "offset": 3651},
        {"age": 120, "offset": -4000},
        {"age": 0, "offset": 3650},
        {"age": "", "offset": ""},
    )
    assert names(audit.of("ages")) == ["film-0.png", "film-1.png"]
    assert audit.of("ages").rows["what"].tolist() == ["age -1 years", "age 121 years"]
    assert names(audit.of("offsets")) == ["film-1.png", "film-2.png"]
    assert [finding.check for finding in audit.at_least("error")] == ["ages", "offsets"]


def test_an_impossible_temperature_and_saturation_of_one_row_count_as_one_row(tmp_path: Path) -> None:
    found = audited(tmp_path, {"temperature": 95, "pO2_saturation": 340}, {"temperature": 38.5}).of("measurements")
    assert found.count == 1
    assert found.rows["what"].tolist() == ["temperature 95 °C", "oxygen saturation 340 %"]


def test_dates_that_cannot_be_are_told_from_those_that_say_too_little(tmp_path: Path) -> None:
    audit = audited(
        tmp_path,
        {"date": "January 22, 2020", "finding": COVID},
        {"date": "2999"},
        {"date": "1890"},
        {"date": "2018", "finding": COVID},
        {"date": "2018"},
        {"date": "2019", "finding": COVID},
        {"date": "November 2019", "finding": COVID},
        {"date": "January 12"},
        {"date": "February 30, 2020"},
    )
    assert names(audit.of("dates")) == ["film-1.png", "film-2.png", "film-3.png", "film-6.png"]
    assert names(audit.of("unclear_dates")) == ["film-7.png", "film-8.png"]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2016", date(2016, 1, 1), date(2016, 12, 31)),
        ("Feb 2020", date(2020, 2, 1), date(2020, 2, 29)),
        ("September 16, 2009", date(2009, 9, 16), date(2009, 9, 16)),
        ("Sept 16, 2009", date(2009, 9, 16), date(2009, 9, 16)),
        ("01/13/20", date(2020, 1, 13), date(2020, 1, 13)),
        ("3 March 2020", date(2020, 3, 3), date(2020, 3, 3)),
    ],
)
def test_a_date_means_from_its_first_day_to_its_last(text: str, first: date, last: date) -> None:
    assert dated(text) == (first, last)


def test_unknown_views_modalities_and_words_are_told(tmp_path: Path) -> None:
    audit = audited(
        tmp_path,
        {"view": "AP Erect"},
        {"view": ""},
        {"view": "Axial"},
        {"view": "Coronal", "modality": "CT"},
        {"modality": "MRI"},
        {"finding": "Pneumonia/Viral/Rhino"},
        {"finding": "COVID-19, ARDS"},
        {"finding": "todo"},
    )
    assert names(audit.of("views")) == ["film-0.png", "film-1.png", "film-2.png"]
    assert audit.of("views").rows["what"].tolist() == ["view: AP Erect", "no view is given", "view: Axial"]
    assert names(audit.of("modalities")) == ["film-4.png"]
    assert (names(audit.of("findings")), audit.of("findings").severity) == (["film-5.png"], "warning")


def test_a_misspelt_covid_is_an_error_since_it_would_count_as_a_negative(tmp_path: Path) -> None:
    found = audited(tmp_path, {"finding": "Pneumonia/Viral/COVID19"}, {"finding": "COVID-19/Covid-new"}).of("findings")
    assert (found.count, found.severity) == (2, "error")
    assert found.rows["what"].tolist() == ["finding: COVID19 (counts as Not COVID-19)", "finding: Covid-new"]


def test_sources_with_one_class_are_counted_and_their_films_listed(tmp_path: Path) -> None:
    found = audited(
        tmp_path,
        {"url": "https://a.example/1", "finding": COVID},
        {"url": "https://a.example/2", "finding": OTHER},
        {"url": "https://b.example/1", "finding": COVID},
        {"url": "https://b.example/2", "finding": COVID},
        {"url": "https://c.example/1", "finding": OTHER},
        {"finding": OTHER},
        {"url": "https://a.example/3", "finding": OTHER},
        {"url": "https://a.example/4", "finding": "todo"},
        {"url": "https://a.example/5", "finding": OTHER, "view": "L"},
        {"url": "https://a.example/6", "finding": OTHER, "view": "AP"},
    ).of("one_class_sources")
    assert found.count == 2
    assert names(found) == ["film-2.png", "film-3.png", "film-4.png"]
    assert "3 films (38%)" in found.sentence, "3 of 8 labelled frontal films"


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


def test_without_images_the_checks_of_files_say_so_and_count_nothing(tmp_path: Path) -> None:
    audit = audited(tmp_path, {}, {})
    for check in (*FILE_CHECKS, "duplicates_across_patients"):
        found = audit.of(check)
        assert (found.checked, found.count) == (False, 0)
        assert found.sentence.startswith("Not checked: the folder of images is not there.")
    assert audit.of("ages").checked


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
    assert calls == [(done, 8) for done in range(1, 9)]
    assert names(audit.of("missing_files")) == ["absent.png"]
    assert names(audit.of("unreadable_files")) == ["damaged.png"]
    assert audit.of("file_types").rows[["filename", "what"]].to_numpy().tolist() == [
        ["named.jpg", "named JPEG, holds PNG"]
    ]


def test_twins_are_told_by_content_by_appearance_and_across_patients(collection: Path) -> None:
    audit = audit_dataset(collection)
    assert audit.of("exact_duplicates").count == 1
    assert names(audit.of("exact_duplicates")) == ["film-0.png", "same.png"]
    assert audit.of("near_duplicates").count == 2
    assert names(audit.of("near_duplicates")) == ["film-1.png", "again.jpg", "film-2.png", "pale.png"]
    across = audit.of("duplicates_across_patients")
    assert names(across) == ["film-0.png", "same.png", "film-2.png", "pale.png"]
    assert across.rows["what"].tolist()[:2] == ["same content as same.png", "same content as film-0.png"]
    assert across.severity == "error", "one picture is labelled both ways"
    assert "1 pair has contrary classes" in across.sentence


def test_too_many_pictures_are_compared_by_content_alone(collection: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_files, "MOST_COMPARED", 6)
    audit = audit_dataset(collection)
    assert audit.of("exact_duplicates").count == 1
    assert not audit.of("near_duplicates").checked
    assert "more than 6 pictures" in audit.of("near_duplicates").sentence


def test_without_scipy_pictures_are_compared_by_content_alone(
    collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> None:
        raise ModuleNotFoundError(name="scipy")

    monkeypatch.setattr(duplicates, "match_scores", absent)
    audit = audit_dataset(collection)
    assert (audit.of("unreadable_files").count, audit.of("exact_duplicates").count) == (1, 1)
    assert "scipy is not installed" in audit.of("near_duplicates").sentence
    assert names(audit.of("duplicates_across_patients")) == ["film-0.png", "same.png"]


def test_ct_slices_are_compared_by_content_alone(collection: Path) -> None:
    table = read_metadata(collection / "metadata.csv").assign(modality="CT", view="Axial")
    audit = audit_dataset(collection, table=table)
    assert (audit.of("exact_duplicates").count, audit.of("near_duplicates").count) == (1, 0)


def test_three_files_of_one_content_are_one_and_two_repeats(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    film = Image.fromarray(phantom_film(np.random.default_rng(1), "covid", 128))
    for number in range(3):
        film.save(tmp_path / "images" / f"film-{number}.png")
    assert audited(tmp_path, {}, {}, {}).of("exact_duplicates").count == 2


def predicting(count: int = 60) -> list[dict[str, object]]:
    """Every second patient has COVID-19, which the source tells and the view does not."""
    rows: list[dict[str, object]] = []
    for number in range(count):
        covid = number % 2 == 0
        site = "covid" if covid else "other"
        view = ("PA", "AP")[number // 2 % 2]
        rows.append({"finding": COVID if covid else OTHER, "url": f"https://{site}.example/{number}", "view": view})
    return [{**row, "age": 40 + number % 7, "sex": "M"} for number, row in enumerate(rows)]


def test_a_source_that_equals_the_class_predicts_it_and_a_balanced_view_does_not(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="predicting needs requirements-train.txt")
    audit = audited(tmp_path, *predicting())
    assert audit.of("source_predicts").severity == "warning"
    assert "AUC of 1.00" in audit.of("source_predicts").sentence
    assert audit.of("source_predicts").count == 60
    assert audit.of("view_predicts").severity == "notice"
    assert audit.of("all_predict").severity == "warning"


def test_too_few_patients_to_predict_the_class_are_said_to_be_so(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="predicting needs requirements-train.txt")
    found = audited(tmp_path, *predicting(6)).of("source_predicts")
    assert not found.checked
    assert "at least 5 patients" in found.sentence


def test_without_scikit_learn_the_audit_goes_on_and_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("covid_core.evaluation.baselines"):
            raise ModuleNotFoundError(name="sklearn")
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    found = audited(tmp_path, *predicting()).of("source_predicts")
    assert (found.checked, found.count) == (False, 0)
    assert "sklearn is not installed" in found.sentence


def test_only_what_counts_something_is_grave(tmp_path: Path) -> None:
    audit = audited(tmp_path, {"date": "January 12", "view": "AP Erect"})
    assert audit.at_least("error") == ()
    assert [finding.check for finding in audit.at_least("warning")] == ["views"]
    assert [finding.check for finding in audit.at_least("notice")] == ["unclear_dates", "views"]


def test_the_text_gives_counts_first_rows_and_what_could_not_be_checked(tmp_path: Path) -> None:
    text = summary_lines(audited(tmp_path, *[{"age": 200}] * 7), rows_shown=2)
    assert text.splitlines()[0] == "7 images of 7 patients"
    assert "error: ages: 7 rows have an impossible age. Correct the table." in text
    assert "  film-1.png (patient 1): age 200 years\n  and 5 more" in text
    assert "missing_files: Not checked" in text


def test_a_name_in_the_table_cannot_steer_the_terminal(tmp_path: Path) -> None:
    text = summary_lines(audited(tmp_path, {"filename": "\x1b[2Jfilm.png"}))
    assert "\x1b" not in text


def test_the_record_is_plain_json_with_every_row(tmp_path: Path) -> None:
    record = audit_record(audited(tmp_path, *[{"filename": "", "age": 200}] * 7))
    found = {one["check"]: one for one in json.loads(json.dumps(record, allow_nan=False))["findings"]}
    assert found["ages"]["rows"][6] == {"filename": None, "patientid": "6", "what": "age 200 years"}


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 1), ("notice", 1), ("never", 0)])
def test_the_command_fails_from_the_chosen_severity_on(
    fail_on: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table_of({"view": "AP Erect"}).drop(columns=["label", "source"]).to_csv(tmp_path / "metadata.csv", index=False)
    assert main(["audit", "--collection", str(tmp_path), "--fail-on", fail_on, "--json"]) == code
    streams = capsys.readouterr()
    assert json.loads(streams.out)["images"] == 1
    assert streams.err.startswith("error: 1 ") if code else streams.err == ""


def test_an_error_fails_the_command_by_default(collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--collection", str(collection)]) == 1
    assert "error: unreadable_files: 1 file cannot be read as a film." in capsys.readouterr().out


def test_a_collection_without_a_table_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"metadata\.csv is missing"):
        audit_dataset(tmp_path)


def test_the_real_table_has_what_its_description_says(real_dataset: Path, tmp_path: Path) -> None:
    """950 rows; of those with a file 10 patients have both labels, 11 No Finding films are of patients with a COVID-19 film."""
    table = read_metadata(real_dataset / "metadata.csv")
    present = table["filename"].map(lambda name: (real_dataset / "images" / name).is_file())
    assert len(table) == 950
    audit = audit_dataset(tmp_path, table=table[present])
    assert audit.of("both_labels").count == 10
    ambiguous = audit.of("no_finding_of_covid_patients").rows["what"]
    assert ambiguous.value_counts().to_dict() == {
        "No Finding, COVID-19 on a frontal film": 11,
        "No Finding, COVID-19 on another image": 3,
    }
    assert audit_dataset(tmp_path, table=table).images == 950
