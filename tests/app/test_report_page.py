import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from covid_core.paths import models_dir
from covid_core.report.build import CHAPTERS
from tests.app.conftest import METADATA, OpenPage, image_png, texts
from tests.fake_bundle import change_manifest, replace_file

PAGE = "pages/3_Model_report.py"


def evaluation_of(model: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((models_dir() / model / "evaluation.json").read_text(encoding="utf-8"))
    return content


def tables(app: Any) -> list[pd.DataFrame]:
    """The tables of a page, Markdown escapes taken away."""
    return [one.value.map(unescaped).rename(index=unescaped) for one in app.table]


def unescaped(text: str) -> str:
    return text.replace("\\", "")


def cell(app: Any, row: str, column: str) -> str:
    """A cell of the first table that has the row and the column."""
    found = [table for table in tables(app) if row in table.index and column in table.columns]
    return str(found[0].loc[row, column])


@pytest.fixture
def described_images(own_bundle: Path, dataset: Path) -> list[str]:
    """The first two errors of the model stand in the installed dataset with an image each; gives their file names."""
    predictions = pd.read_csv(own_bundle / "predictions.csv")
    threshold = evaluation_of(own_bundle.name)["threshold"]
    missed = predictions[(predictions["label"] == "covid") & (predictions["probability_covid"] < threshold)]
    names = missed.sort_values("probability_covid")["filename"].head(2).tolist()
    rows = [f"9,F,45,Pneumonia/Viral/COVID-19,PA,X-ray,{name},https://one.example/9," for name in names]
    (dataset / "metadata.csv").write_text(METADATA + "\n".join(rows) + "\n", encoding="utf-8")
    for name in names:
        (dataset / "images" / name).write_bytes(image_png())
    return names


def test_the_report_opens_with_its_figures_and_the_verdict(models: list[str], open_page: OpenPage) -> None:
    evaluation = evaluation_of(models[0])
    app = open_page(PAGE, model=models[0])
    cards = {metric.label: metric.value for metric in app.metric}
    assert cards == {
        "Sensitivity": f"{evaluation['metrics']['sensitivity']['value']:.2f}",
        "Specificity": f"{evaluation['metrics']['specificity']['value']:.2f}",
        "ROC AUC": f"{evaluation['metrics']['roc_auc']['value']:.2f}",
        "AUC within a source": f"{evaluation['metrics']['within_source_auc']['value']:.2f}",
    }
    (tn, _), (_, tp) = evaluation["confusion_matrix"]
    said = texts(app)
    assert f"found {tp} of {sum(evaluation['confusion_matrix'][1])} COVID-19 images" in said
    assert "training data" in said
    assert "A second opinion in research and teaching" in said
    assert cell(app, "Not COVID-19", "Called: Not COVID-19").startswith(f"{tn} (")
    assert cell(app, "COVID-19", "Called: COVID-19").startswith(f"{tp} (")


@pytest.mark.parametrize("chapter", CHAPTERS.values(), ids=CHAPTERS)
def test_every_chapter_of_every_model_opens_by_its_address(
    chapter: str, models: list[str], open_page: OpenPage
) -> None:
    for model in models:
        app = open_page(PAGE, model=model, chapter=chapter)
        assert not app.exception
        assert not app.error
        assert app.subheader or app.warning


def test_the_threshold_moves_the_calls_and_the_model_s_own_is_one_press_away(
    models: list[str], open_page: OpenPage
) -> None:
    app = open_page(PAGE, model=models[0])
    shipped = cell(app, "Sensitivity", "Value")
    app.slider(key="threshold").set_value(0.0).run()
    assert cell(app, "Sensitivity", "Value") == "1.00"
    assert cell(app, "Specificity", "Value") == "0.00"
    assert "The model itself calls from" in texts(app)
    next(button for button in app.button if button.label == "The model's own").click().run()
    assert cell(app, "Sensitivity", "Value") == shipped


def test_an_address_restores_settings_of_every_chapter(models: list[str], open_page: OpenPage) -> None:
    app = open_page(PAGE, model=models[0], threshold="0.3")
    assert app.slider(key="threshold").value == 0.3
    assert "At a threshold of 0.300" in texts(app)
    app.pills(key="chapter").set_value("calibration").run()
    assert "Calibration, before and after" in texts(app)
    app.pills(key="chapter").set_value("operating-point").run()
    assert app.slider(key="threshold").value == 0.3
    app = open_page(PAGE, model=models[0], chapter="In your clinic", prevalence="2%", threshold="0.3")
    assert "Of 1000 people like this, 20 have COVID-19." in texts(app)
    assert "from a probability of 0.300 on" in texts(app)
    app = open_page(PAGE, model=models[0], chapter="Calibration", threshold="0.3", prevalence="2%")
    assert (app.slider(key="threshold").value, app.select_slider(key="prevalence").value) == (0.3, 0.02)


def test_another_model_begins_at_its_own_operating_point(models: list[str], open_page: OpenPage) -> None:
    if len(models) < 2:
        pytest.skip("there is one model only")
    app = open_page(PAGE, model=models[0], threshold="0.3")
    app.selectbox(key="model").set_value(models[1]).run()
    assert app.slider(key="threshold").value == pytest.approx(evaluation_of(models[1])["threshold"])


def test_the_report_shows_how_the_model_was_made_and_its_limits(models: list[str], open_page: OpenPage) -> None:
    card = "\n".join(table.to_string() for table in tables(open_page(PAGE, model=models[0], chapter="Model card")))
    for part in ("case collections", "Starting weights", "No patient and no duplicate image stands in two parts"):
        assert part in card
    trained = tables(open_page(PAGE, model=models[0], chapter="How it was trained"))
    assert any({"Seed", "Time", "Starting weights"} <= set(table.index) for table in trained)


def test_a_model_that_a_baseline_beats_says_so_in_words(models: list[str], open_page: OpenPage) -> None:
    evaluation = evaluation_of(models[0])
    best = max(found["roc_auc"]["value"] for found in evaluation["baselines"].values())
    app = open_page(PAGE, model=models[0], chapter="Shortcut learning")
    warnings = " ".join(warning.value for warning in app.warning)
    assert ("sees no pixel" in warnings) == (best >= evaluation["metrics"]["roc_auc"]["value"])


def test_the_report_and_the_files_behind_it_are_offered(models: list[str], open_page: OpenPage) -> None:
    app = open_page(PAGE, model=models[0])
    labels = [button.label for button in app.get("download_button")]
    for label in ("Report as HTML", "All tables as CSV", "evaluation.json", "predictions.csv"):
        assert label in labels
    assert "MODEL_CARD.md" in labels
    assert labels.count("CSV") == 4
    assert "print it to PDF" in texts(app)


@pytest.mark.parametrize(
    ("name", "spoil", "sentence"),
    [
        ("evaluation.json", lambda _: b'{"schema": 0}', "Evaluate the model again"),
        ("evaluation.json", lambda content: content.replace(b'"reliability"', b'"other"'), "lacks reliability"),
        ("predictions.csv", lambda content: content.rstrip(b"\n").rpartition(b"\n")[0] + b"\n", "Evaluate it again"),
    ],
)
def test_files_that_cannot_be_used_are_answered_with_what_to_run(
    own_bundle: Path, open_page: OpenPage, name: str, spoil: Callable[[bytes], bytes], sentence: str
) -> None:
    replace_file(own_bundle, name, spoil((own_bundle / name).read_bytes()))
    app = open_page(PAGE)
    assert not app.exception
    assert sentence in app.error[0].value.replace("\\", "")


def test_unreadable_training_curves_are_answered_with_what_to_run(own_bundle: Path, open_page: OpenPage) -> None:
    change_manifest(own_bundle, lambda manifest: manifest.update(stage="finetune"))
    replace_file(own_bundle, "history.csv", b"stage,epoch\n")
    app = open_page(PAGE, chapter="How it was trained")
    assert not app.exception
    assert "Export it again" in app.warning[0].value.replace("\\", "")
    assert app.metric, "the figures are shown all the same"


def test_a_model_that_cannot_be_read_is_not_compared_and_named(own_bundle: Path, open_page: OpenPage) -> None:
    (own_bundle.parent / "broken").mkdir()
    (own_bundle.parent / "broken" / "bundle.json").write_text("{}", encoding="utf-8")
    app = open_page(PAGE, model=own_bundle.name, chapter="Discrimination")
    assert not app.exception
    assert "Not compared, as it cannot be read: broken" in texts(app)


@pytest.mark.usefixtures("no_dataset")
def test_without_the_dataset_the_errors_are_rows_with_links(models: list[str], open_page: OpenPage) -> None:
    app = open_page(PAGE, model=models[0], chapter="Where it fails")
    evaluation = evaluation_of(models[0])
    (_, false_alarms), (missed, _) = evaluation["confusion_matrix"]
    rows = app.dataframe[0].value
    assert len(rows) == false_alarms + missed
    assert rows["Image"].str.startswith("https://github.com/ieee8023/covid-chestxray-dataset/").all()


def test_errors_are_filtered_and_a_case_opens_with_what_is_known_of_it(
    described_images: list[str], own_bundle: Path, open_page: OpenPage
) -> None:
    app = open_page(PAGE, model=own_bundle.name, chapter="Where it fails")
    app.selectbox(key="errors").set_value("missed COVID-19").run()
    app.selectbox(key="by").set_value("Sex").run()
    app.selectbox(key="group").set_value("female").run()
    assert not app.exception
    assert "2 of " in texts(app)
    cases = [button for button in app.button if button.label == "Open"]
    assert len(cases) == len(described_images)
    cases[0].click().run()
    assert not app.exception
    said = texts(app)
    assert "by the reference standard COVID-19" in said
    assert described_images[0] in said
    assert "Pneumonia/Viral/COVID-19, PA, F, 45 years" in said
    assert "https://one.example/9" in [link.proto.url for link in app.get("link_button")]


@pytest.mark.usefixtures("dataset")
def test_a_case_that_is_no_error_of_the_model_does_not_open(own_bundle: Path, open_page: OpenPage) -> None:
    app = open_page(PAGE, model=own_bundle.name, chapter="Where it fails", case="../../etc/passwd")
    assert not app.exception
    assert "by the reference standard" not in texts(app)


def test_a_broken_table_of_the_dataset_does_not_take_the_report_along(
    own_bundle: Path, dataset: Path, open_page: OpenPage
) -> None:
    (dataset / "metadata.csv").write_text("no such table", encoding="utf-8")
    app = open_page(PAGE, model=own_bundle.name)
    assert not app.exception
    assert "This is not the table of the collection" in app.error[0].value.replace("\\", "")
    assert app.metric


@pytest.mark.parametrize("query", [{"chapter": ""}, {"chapter": "<script>"}, {"threshold": "abc"}, {"prevalence": ""}])
def test_an_address_that_makes_no_sense_opens_the_report_all_the_same(
    query: dict[str, str], models: list[str], open_page: OpenPage
) -> None:
    app = open_page(PAGE, model=models[0], **query)
    assert not app.exception
    assert app.metric
    assert app.slider(key="threshold").value == pytest.approx(evaluation_of(models[0])["threshold"])
