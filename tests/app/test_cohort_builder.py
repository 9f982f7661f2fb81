"""The cohort builder as a visitor uses it: its rules, its flow, its split, and what can be taken away."""

import csv
import io
import json
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from covid_core.cli.main import build_parser, main
from covid_core.dataset.cohort import CohortRules
from covid_core.dataset.prepare import Fingerprints, prepare_dataset
from covid_core.ui import cohort_builder
from covid_core.ui.page import offer
from tests.app.conftest import OpenPage, texts

HEADER = "patientid,finding,view,modality,filename\n"

OFFERED: dict[str, bytes] = {}
"""File name of a download button -> what it last gave; a page without a browser has no other way to it."""


@pytest.fixture
def open_builder(
    open_dataset: OpenPage,
    no_models: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> OpenPage:
    """Opens the section of the cohort."""
    monkeypatch.setattr(cohort_builder, "PROJECT", tmp_path / "project")
    monkeypatch.setattr(cohort_builder, "offer", kept_offer)
    OFFERED.clear()
    return partial(open_dataset, section="Cohort")


@pytest.fixture
def builder(open_builder: OpenPage, phantom_dataset: Path) -> AppTest:
    return open_builder(phantom_dataset)


def kept_offer(label: str, make: Callable[[], bytes] | bytes, file_name: str, mime: str) -> None:
    OFFERED[file_name] = make if isinstance(make, bytes) else make()
    offer(label, make, file_name, mime)


def flow_of(app: AppTest) -> list[tuple[str, str]]:
    """Images and patients after each step, as the table says."""
    assert not app.exception
    table = app.table[0].value
    return list(zip(table["Images"], table["Patients"], strict=True))


def counted(dataset: Path, steps: Sequence[Callable[[dict[str, str]], bool]]) -> list[tuple[str, str]]:
    """The same by hand: rows of the CSV that pass one step after the other."""
    rows = list(csv.DictReader(io.StringIO((dataset / "metadata.csv").read_text(encoding="utf-8"))))
    counts = []
    for step in steps:
        rows = [row for row in rows if step(row)]
        counts.append((str(len(rows)), str(len({row["patientid"] for row in rows}))))
    return counts


def file_of(app: AppTest, name: str) -> bytes:
    """The file that a button gives."""
    assert any(one.key.endswith(name) for one in app.get("download_button"))
    return OFFERED[name]


def has_filter(app: AppTest, key: str) -> bool:
    return key in {one.key for one in app.multiselect}


def read(app: AppTest) -> AppTest:
    return app.button(key="cohort_read").click().run()


def test_the_steps_that_need_no_picture_are_counted_at_once(builder: AppTest, phantom_dataset: Path) -> None:
    steps = [
        lambda _: True,
        lambda row: row["modality"] == "X-ray",
        lambda row: row["view"] in {"PA", "AP", "AP Supine"},
        lambda row: row["finding"] not in {"todo", "Unknown", ""},
        lambda row: (phantom_dataset / "images" / row["filename"]).is_file(),
        lambda row: row["filename"] != "resolved-1.png",
    ]
    assert flow_of(builder) == counted(phantom_dataset, steps)
    assert not [one for one in builder.get("download_button") if "split" in one.proto.label.lower()]


def test_a_rule_changes_the_flow_at_once_and_can_be_reset(builder: AppTest, phantom_dataset: Path) -> None:
    before = flow_of(builder)
    builder.toggle(key="supine").set_value(False).run()
    frontal = counted(phantom_dataset, [lambda row: row["modality"] == "X-ray" and row["view"] in {"PA", "AP"}])
    assert flow_of(builder)[2] == frontal[0] != before[2]
    builder.segmented_control(key="ambiguous").set_value("covid")
    builder.slider(key="shares").set_value((60, 75))
    builder.text_input(key="seed").input("5").run()
    assert int(flow_of(builder)[-1][0]) == int(flow_of(builder)[-2][0])
    builder.button(key="cohort_defaults").click().run()
    assert flow_of(builder) == before
    assert builder.slider(key="shares").value == (70, 85)
    assert builder.button(key="cohort_defaults").disabled


@pytest.mark.parametrize("seed", ["-1", "4294967296", "٣", "1.5", "inf"])
def test_a_wrong_seed_is_answered_with_a_warning_and_the_default(
    open_builder: OpenPage, phantom_dataset: Path, seed: str
) -> None:
    app = open_builder(phantom_dataset, seed=seed)
    assert not app.exception
    assert app.warning
    assert "--seed" not in app.code[0].value
    app.button(key="cohort_defaults").click().run()
    assert not app.warning


@pytest.mark.parametrize(
    ("handles", "parts"),
    [((70, 70), (70, 1, 29)), ((99, 99), (98, 1, 1)), ((1, 1), (1, 1, 98)), ((85, 70), (70, 15, 15))],
)
def test_no_part_is_left_without_a_share(
    open_builder: OpenPage, phantom_dataset: Path, handles: tuple[int, int], parts: tuple[int, int, int]
) -> None:
    app = open_builder(phantom_dataset, shares=[str(handle) for handle in handles])
    assert not app.exception
    assert "Training {} %, validation {} %, test {} %".format(*parts) in texts(app)


@pytest.mark.parametrize(
    "query",
    [{}, {"ambiguous": "as COVID-19", "shares": ["50", "75"], "seed": "7"}, {"supine": "false", "seed": "4294967295"}],
)
def test_the_split_is_byte_for_byte_what_the_shown_command_writes(
    open_builder: OpenPage,
    phantom_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    query: dict[str, str | list[str]],
) -> None:
    app = read(open_builder(phantom_dataset, **query))
    words = shlex.split(app.code[0].value)
    assert words[:3] == ["python", "-m", "covid_core"]
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    assert main(words[3:]) == 0
    assert file_of(app, "split.csv") == (project / "dataset" / "split.csv").read_bytes()
    flow = json.loads((project / "dataset" / "flow.json").read_text(encoding="utf-8"))["flow"]
    assert flow_of(app) == [(str(step["images"]), str(step["patients"])) for step in flow]


def test_once_read_every_further_rule_shows_its_split_at_once(
    builder: AppTest, phantom_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(builder)
    with monkeypatch.context() as patched:
        patched.setattr(cohort_builder, "read_images", None)
        builder.text_input(key="seed").input("4").run()
        builder.segmented_control(key="ambiguous").set_value("non_covid").run()
    assert not builder.exception
    prepare_dataset(phantom_dataset, tmp_path / "out", rules=CohortRules(ambiguous="non_covid"), seed=4)
    assert file_of(builder, "split.csv") == (tmp_path / "out" / "split.csv").read_bytes()
    assert "In more than one part: **0** patients, **0** duplicates" in texts(builder)


def test_a_split_is_drawn_counted_and_known_to_the_other_sections(builder: AppTest) -> None:
    assert not has_filter(builder, "part")
    assert "left out: unreadable" not in builder.multiselect(key="cohort").options
    rows = list(csv.DictReader(io.StringIO(file_of(read(builder), "split.csv").decode())))
    assert has_filter(builder, "part")
    assert "left out: unreadable" in builder.multiselect(key="cohort").options
    table = builder.table[1].value
    assert list(table.index) == ["Training", "Validation", "Test", "Together"]
    in_parts = [sum(row["part"] == part for row in rows) for part in ("train", "val", "test")]
    assert list(table["Images"]) == [str(count) for count in (*in_parts, len(rows))]
    figure = json.loads(builder.get("plotly_chart")[0].proto.spec)
    by_class = {trace["name"]: trace for trace in figure["data"]}
    covid = [sum((row["part"], row["label"]) == (part, "covid") for row in rows) for part in ("train", "val", "test")]
    assert [row[1] for row in by_class["COVID-19"]["customdata"]] == covid


def test_reading_can_be_stopped_and_goes_on(builder: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_short(
        _images: Path, names: Sequence[str], progress: Callable[[int, int], None], *_: object
    ) -> Fingerprints:
        """Streamlit ends the run where it shows progress, once the visitor has pressed Stop."""
        progress(3, len(names))
        st.stop()

    with monkeypatch.context() as patched:
        patched.setattr(cohort_builder, "read_images", cut_short)
        read(builder)
    builder.button(key="cohort_stop").click().run()
    assert not builder.exception
    assert "In more than one part" not in texts(builder)
    read(builder)
    assert "In more than one part" in texts(builder)


def test_the_prepared_split_is_known_if_it_was_made_by_the_same_rules(
    open_builder: OpenPage, phantom_dataset: Path
) -> None:
    prepare_dataset(phantom_dataset, cohort_builder.PROJECT / "dataset", seed=2)
    app = open_builder(phantom_dataset, seed="2")
    assert has_filter(app, "part")
    assert not has_filter(app.text_input(key="seed").input("3").run(), "part")


def test_what_is_left_out_is_a_table_that_runs_no_formula(open_builder: OpenPage, tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    (folder / "images").mkdir(parents=True)
    (folder / "metadata.csv").write_text(
        f"{HEADER}=1+1,SARS,PA,X-ray,@sum.png\n2,SARS,L,X-ray,b.png\n", encoding="utf-8"
    )
    rows = list(csv.reader(io.StringIO(file_of(open_builder(folder), "left_out.csv").decode("utf-8-sig"))))
    assert rows[0] == ["filename", "patientid", "reason", "step"]
    assert rows[1:] == [
        ["b.png", "2", "not a frontal view (PA, AP, AP Supine)", "frontal"],
        ["'@sum.png", "'=1+1", "the file is missing", "file"],
    ]


def test_an_uploaded_table_has_a_flow_without_files_and_a_command_with_a_placeholder(
    open_builder: OpenPage, phantom_dataset: Path
) -> None:
    app = open_builder(phantom_dataset, "uploaded", seed="3")
    assert "cohort_read" not in {one.key for one in app.button}
    assert "images of this table are not installed" in app.info[0].value
    assert not any("file" in step for step in app.table[0].value.index)
    options = build_parser().parse_args(shlex.split(app.code[0].value)[3:])
    assert (options.dataset, options.seed) == (Path("FOLDER"), 3)
    assert "in place of FOLDER" in texts(app).replace("`", "")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("1,SARS,Axial,CT,a.png\n", "No image is left"),
        ("1,SARS,PA,X-ray,a.png\n2,SARS,PA,X-ray,b.png\n", "All images that are left are of one class, Not COVID-19"),
    ],
)
def test_a_cohort_without_both_classes_is_warned_of(
    open_builder: OpenPage, tmp_path: Path, rows: str, sentence: str
) -> None:
    (tmp_path / "metadata.csv").write_text(HEADER + rows, encoding="utf-8")
    app = open_builder(tmp_path, "uploaded")
    assert not app.exception
    assert sentence in app.warning[0].value
    assert not app.toggle(key="supine").disabled


def test_a_part_without_a_class_is_a_sentence_and_the_rules_stay(
    open_builder: OpenPage, phantom_dataset: Path, tmp_path: Path
) -> None:
    lines = (phantom_dataset / "metadata.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines[1:] if line.startswith(("1,", "2,", "3,"))]
    (tmp_path / "metadata.csv").write_text("\n".join([lines[0], *kept]), encoding="utf-8")
    (tmp_path / "images").symlink_to(phantom_dataset / "images")
    app = read(open_builder(tmp_path))
    assert not app.exception
    assert "would have no image of class" in app.error[0].value.replace("\\", "")
    app.toggle(key="supine").set_value(False).run()
    assert not app.exception
