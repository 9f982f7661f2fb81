"""The audit on a page, on a collection with faults that were put into it one by one."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from covid_core.cli.main import main
from covid_core.errors import DatasetError
from covid_core.ui import audit_panel
from tests.app.conftest import OpenPage, texts
from tests.phantom import phantom_image

COVID, OTHER = "Pneumonia/Viral/COVID-19", "Pneumonia/Bacterial"
ROWS = [
    ("image-0.png", "a", COVID, "PA", 60),
    ("same.png", "b", OTHER, "PA", 61),
    ("damaged.png", "c", COVID, "PA", 62),
    ("*absent*.png", "d", COVID, "AP Erect", 63),
    ("image-1.png", "e", COVID, "PA", 200),
]
"""One content under two patients and classes, a damaged and a missing file, an unknown view, an impossible age."""


OpenAudit = Callable[..., AppTest]


@pytest.fixture
def folder(tmp_path: Path, no_models: None) -> Path:  # noqa: ARG001
    images = tmp_path / "collection" / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(7)
    for number in range(2):
        Image.fromarray(phantom_image(rng, "covid", 128)).save(images / f"image-{number}.png")
    (images / "same.png").write_bytes((images / "image-0.png").read_bytes())
    (images / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more of it")
    table = pd.DataFrame(ROWS, columns=["filename", "patientid", "finding", "view", "age"]).assign(modality="X-ray")
    table.to_csv(images.parent / "metadata.csv", index=False)
    return images.parent


@pytest.fixture
def audit(open_dataset: OpenPage) -> OpenAudit:
    """Opens the section, and starts the audit unless told otherwise."""

    def open_it(folder: Path, way: str = "installed", *, start: bool = True, **query: str) -> AppTest:
        app = open_dataset(folder, way, section="Audit", **query)
        if start:
            app.button(key="audit").click().run()
        assert not app.exception
        return app

    return open_it


def shown_rows(app: AppTest, check: str) -> pd.DataFrame:
    app.session_state[f"rows of {check}"] = True
    app.run()
    assert not app.exception
    return app.dataframe[0].value


def test_findings_are_shown_by_severity_with_their_rows(audit: OpenAudit, folder: Path, tmp_path: Path) -> None:
    app = audit(folder, start=False)
    assert app.button(key="audit").label == "Audit this collection"
    assert not (tmp_path / "cache").exists(), "nothing is read before"
    assert not app.subheader
    app = audit(folder)
    assert [one.value for one in app.subheader] == [
        ":material/error: Errors (3)",
        ":material/warning: Warnings (3)",
        ":material/info: Notices (0)",
        "Download",
    ]
    said = texts(app)
    assert "**3 errors**, **3 warnings**, **0 notices** in 5 images of 5 patients." in said
    assert "**Unreadable files: 1.**" in said
    assert "**Source; View; Age and sex; Source, view, age and sex.** Not checked" in said
    assert "audit" not in {button.key for button in app.button}
    assert not app.dataframe
    assert shown_rows(app, "missing_files").to_numpy().tolist() == [["*absent*.png", "d", "not there"]]
    app = audit(folder, start=False, severity="Errors")
    assert [one.value for one in app.subheader] == [":material/error: Errors (3)", "Download"]
    assert "--fail-on error" in app.code[0].value
    app.segmented_control(key="severity").set_value("notice").run()
    assert [one.value for one in app.subheader] == [":material/info: Notices (0)", "Download"]


def test_the_rows_that_meet_the_filters_are_counted_and_can_be_shown_alone(audit: OpenAudit, folder: Path) -> None:
    app = audit(folder, view="PA")
    labels = [one.label for one in app.expander]
    assert "1 row, 0 of which meet the filters" in labels, "the missing file has another view"
    assert "2 rows, 2 of which meet the filters" in labels
    assert len(shown_rows(app, "missing_files")) == 1
    app.toggle(key="only_filtered").set_value(True).run()
    assert not app.exception
    assert not app.dataframe
    unfiltered = audit(folder, start=False)
    assert "only_filtered" not in {one.key for one in unfiltered.toggle}
    assert "1 row" in [one.label for one in unfiltered.expander]


def test_a_selected_row_opens_its_image_and_stays_closed_once_it_is_closed(
    audit: OpenAudit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pickable(shown: pd.DataFrame, *, key: str, on_select: Callable[[], None], **_: object) -> None:
        """A table whose last row is selected by a button, since no AppTest can."""

        def pick() -> None:
            st.session_state[key] = {"selection": {"rows": [len(shown) - 1]}}
            on_select()

        st.button("pick", key="pick", on_click=pick)

    monkeypatch.setattr(st, "dataframe", pickable)
    app = audit(folder)
    app.session_state["rows of exact_duplicates"] = True
    app.run()
    for _ in range(2):
        app.button(key="pick").click().run()
        assert app.session_state["film_of_collection"] == "same.png"
        app.session_state["film_of_collection"] = None
        assert app.run().session_state["film_of_collection"] is None


@pytest.mark.parametrize("way", ["installed", "named"])
def test_an_audit_is_for_all_visitors_but_that_of_an_own_collection_for_nobody_else(
    audit: OpenAudit, way: str, folder: Path, tmp_path: Path
) -> None:
    audit(folder, way)
    own, other = way == "named", audit(folder, start=False)
    assert ("**3 errors**" in texts(other)) is not own
    assert ("audit" in {button.key for button in other.button}) is own
    assert (tmp_path / "cache").exists() is not own, "nothing of a visitor's own is written"
    (folder / "images" / "damaged.png").write_bytes((folder / "images" / "image-1.png").read_bytes())
    assert "Unreadable files: 1." not in texts(audit(folder, way)), "another content asks for another audit"


def test_a_table_alone_is_audited_at_once(audit: OpenAudit, folder: Path) -> None:
    app = audit(folder, "uploaded", start=False)
    assert not app.exception
    assert "**1 error**" in texts(app)
    assert app.code[0].value == "python -m covid_core audit --collection FOLDER --table-only --fail-on error"
    assert str(folder) not in texts(app)


def test_a_prediction_no_better_than_chance_is_shown_and_counts_as_no_finding(audit: OpenAudit, folder: Path) -> None:
    """Every second patient has COVID-19, which the source tells and the view does not."""
    rows = [
        (f"{n}.png", n, (COVID, OTHER)[n % 2], ("PA", "AP")[n // 2 % 2], f"https://{'ab'[n % 2]}.example")
        for n in range(60)
    ]
    table = pd.DataFrame(rows, columns=["filename", "patientid", "finding", "view", "url"]).assign(modality="X-ray")
    table.to_csv(folder / "metadata.csv", index=False)
    shutil.rmtree(folder / "images")
    app = audit(folder, start=False)
    said = texts(app)
    assert "**0 notices**" in said
    figures = app.table[0].value
    found = {"Source": "Warning", "Source, view, age and sex": "Warning", "View": "None"}
    assert figures["Severity"].to_dict() == found
    (passed,) = [one for one in said.splitlines() if "No problems found" in one]
    assert "View" not in passed


def test_an_audit_that_fails_says_why_and_is_not_started_again(
    audit: OpenAudit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise DatasetError("The *folder* is gone.")

    monkeypatch.setattr(audit_panel, "audit_dataset", fails)
    app = audit(folder, start=False).button(key="audit").click().run()
    assert app.error[0].value == r"The \*folder\* is gone\."
    assert app.run().button(key="audit").label == "Audit this collection"


def test_stop_leaves_the_button_to_begin_again(audit: OpenAudit, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The visitor's click ends the run at the next step, as Streamlit does it; then the page runs with it."""
    seen: list[str] = []

    def interrupted(*_: object, progress: Any, **__: object) -> None:
        progress(1, 4)
        seen.append("began")
        st.stop()

    monkeypatch.setattr(audit_panel, "audit_dataset", interrupted)
    app = audit(folder, start=False).button(key="audit").click().run()
    assert seen == ["began"]
    app.run()
    assert seen == ["began", "began"], "any other rerun takes the audit up again"
    app.button(key="stop_audit").click().run()
    assert seen == ["began", "began"]
    assert app.button(key="audit").label == "Audit this collection"


@pytest.mark.parametrize("images", [True, False])
def test_the_downloads_hold_every_row_and_what_the_command_prints(
    audit: OpenAudit, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, images: bool
) -> None:
    table = pd.read_csv(folder / "metadata.csv")
    table.loc[3, "filename"] = "=cmd.png"
    table.to_csv(folder / "metadata.csv", index=False)
    made: dict[str, bytes] = {}
    monkeypatch.setattr(audit_panel, "offer", lambda _, make, name, *__: made.update({name: make()}))
    if not images:
        shutil.rmtree(folder / "images")
    app = audit(folder, start=images)
    command = app.code[0].value.removeprefix("python -m covid_core ").split()
    assert ("--table-only" in command) is not images
    assert main([*command, "--collection", str(folder), "--json"]) == 1
    assert json.loads(made["audit.json"]) == json.loads(capsys.readouterr().out)
    rows = pd.read_csv(io.BytesIO(made["audit.csv"]), encoding="utf-8-sig", keep_default_na=False)
    assert list(rows) == ["severity", "check", "filename", "patientid", "what"]
    assert rows[rows["check"] == "missing_files"]["filename"].tolist() == (["'=cmd.png"] if images else [])
