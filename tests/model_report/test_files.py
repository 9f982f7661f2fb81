"""A report as a file: two kinds by the ending of the name, and a former file that outlives a failure."""

import io
from pathlib import Path

import pypdf
import pytest

from covid_core.errors import EvaluationError
from covid_core.model_report import files
from covid_core.model_report.files import ENDINGS, write_report
from covid_core.model_report.whole import CHAPTERS, asked_by_default
from tests.made_up_records import HOSTILE, forty_films, record_of

RECORDS = {
    "forty films": forty_films(),
    "COVID-19 alone": forty_films(label="covid"),
    "all the same": forty_films(probability_raw=0.5, probability_covid=0.5),
    "two patients": forty_films(films_of_a_patient=20),
    "hostile names": forty_films(source=HOSTILE, filename=[f"{HOSTILE}{number}" for number in range(40)]),
    "one film": forty_films().head(1),
}


@pytest.mark.parametrize("who", RECORDS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_report_of_any_model_is_a_whole_file(tmp_path: Path, who: str, ending: str) -> None:
    path = tmp_path / f"own{ending}"
    write_report(asked_by_default(record_of(RECORDS[who])), path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    if ending == ".pdf":
        read = pypdf.PdfReader(io.BytesIO(path.read_bytes()), strict=True)
        text = " ".join(" ".join(page.extract_text() for page in read.pages).split())
    else:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("<!DOCTYPE html>")
        assert text.endswith("</html>\n")
    for title in CHAPTERS.values():
        assert title in text


def test_the_ending_may_be_in_capitals_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "OWN.HTML"
    write_report(asked_by_default(record_of()), path)
    assert path.read_bytes().startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["own.docx", "own", ".html", "own.html.txt"])
def test_another_ending_is_a_sentence_and_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(EvaluationError, match=r"written as \.html or \.pdf"):
        write_report(asked_by_default(record_of()), tmp_path / "new" / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_former_file_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    path = tmp_path / f"own{ending}"
    path.write_text("the former report")

    def fails(_report: object) -> str:
        raise EvaluationError("The films are gone.")

    monkeypatch.setattr(files, "report_html", fails)
    monkeypatch.setattr(files, "report_pdf", fails)
    with pytest.raises(EvaluationError, match="gone"):
        write_report(asked_by_default(record_of()), path)
    assert path.read_text() == "the former report"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_former_file_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.html"
    path.write_text("the former report")

    def full(_path: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            write_report(asked_by_default(record_of()), path)
    assert path.read_text() == "the former report"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_former_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "own.html"
    path.write_text("the former report")
    write_report(asked_by_default(record_of()), path)
    assert "the former report" not in path.read_text(encoding="utf-8")
