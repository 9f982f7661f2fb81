import json
from pathlib import Path

from covid_core.locations import models_dir
from tests.app.conftest import OpenPage, texts
from tests.fake_bundle import change_manifest, replace_file

PAGE = "pages/3_Model_report.py"


def test_the_report_shows_the_figures_of_the_evaluation(models: list[str], open_page: OpenPage) -> None:
    evaluation = json.loads((models_dir() / models[0] / "evaluation.json").read_text(encoding="utf-8"))
    app = open_page(PAGE, model=models[0])
    cards = {metric.label: metric.value for metric in app.metric}
    assert cards == {
        "Sensitivity": f"{evaluation['metrics']['sensitivity']['value']:.2f}",
        "Specificity": f"{evaluation['metrics']['specificity']['value']:.2f}",
        "ROC AUC": f"{evaluation['metrics']['roc_auc']['value']:.2f}",
        "AUC within a source": f"{evaluation['metrics']['within_source_auc']['value']:.2f}",
    }
    (tn, _), (_, tp) = evaluation["confusion_matrix"]
    assert f"found {tp} of {sum(evaluation['confusion_matrix'][1])} COVID-19 films" in texts(app)
    assert app.table[0].value.iloc[0, 0].startswith(f"{tn} (")
    assert app.table[0].value.iloc[1, 1].startswith(f"{tp} (")


def test_the_report_tells_how_the_model_was_made_and_its_limits(models: list[str], open_page: OpenPage) -> None:
    said = texts(open_page(PAGE, model=models[0]))
    for part in (
        "case collections",
        "Seed",
        "Starting weights",
        "No patient and no duplicate film stands in two parts",
    ):
        assert part in said


def test_the_files_behind_the_report_are_offered(models: list[str], open_page: OpenPage) -> None:
    labels = [button.label for button in open_page(PAGE, model=models[0]).get("download_button")]
    assert labels == ["evaluation.json", "predictions.csv", "MODEL_CARD.md"]


def test_an_evaluation_of_another_version_is_answered_with_what_to_run(own_bundle: Path, open_page: OpenPage) -> None:
    replace_file(own_bundle, "evaluation.json", b'{"schema": 0}')
    app = open_page(PAGE)
    assert not app.exception
    assert "Evaluate the model again" in app.error[0].value.replace("\\", "")


def test_unreadable_training_curves_are_answered_with_what_to_run(own_bundle: Path, open_page: OpenPage) -> None:
    change_manifest(own_bundle, lambda manifest: manifest.update(stage="finetune"))
    replace_file(own_bundle, "history.csv", b"stage,epoch\n")
    app = open_page(PAGE)
    assert not app.exception
    assert "Export it anew" in app.error[0].value.replace("\\", "")
    assert app.metric, "the figures are shown all the same"


def test_an_evaluation_with_a_part_missing_is_answered_with_what_to_run(own_bundle: Path, open_page: OpenPage) -> None:
    evaluation = json.loads((own_bundle / "evaluation.json").read_text(encoding="utf-8"))
    del evaluation["reliability"]
    replace_file(own_bundle, "evaluation.json", json.dumps(evaluation).encode())
    app = open_page(PAGE)
    assert not app.exception
    assert "lacks reliability" in app.error[0].value.replace("\\", "")


def test_a_model_without_epochs_has_no_training_curves_and_no_complaint(own_bundle: Path, open_page: OpenPage) -> None:
    change_manifest(own_bundle, lambda manifest: manifest.update(stage="kernel"))
    replace_file(own_bundle, "history.csv", b"stage,epoch,loss\nlungs,1,0.5\n")
    app = open_page(PAGE)
    assert not app.error
    assert "Training curves" not in texts(app)


def test_what_was_measured_beyond_one_number_is_shown(open_page: OpenPage) -> None:
    said = open_page(PAGE, model="mobilenetv2-lungs").expander
    titles = [expander.label for expander in said]
    for title in ("Against what can be told without a pixel", "Is it looking at the lungs?", "External films"):
        assert title in titles
