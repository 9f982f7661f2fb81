"""The model card of a bundle: every figure in it comes from the bundle's manifest and its evaluation.

The sections follow Mitchell et al. 2019 (https://arxiv.org/abs/1810.03993) and the template of the Hugging Face Hub.
"""

from collections.abc import Mapping
from typing import Any

from covid_core.card_text import RESEARCH_ONLY
from covid_core.evaluation.further import further_tables, markdown_table
from covid_core.evaluation.summary import described, films_in_words, verdict
from covid_core.evaluation.tables import MEANINGS
from covid_core.labels import CLASSES

_METRICS = (
    "roc_auc",
    "within_source_auc",
    "sensitivity",
    "specificity",
    "balanced_accuracy",
    "ppv",
    "npv",
    "pr_auc",
    "brier",
    "calibration_intercept",
    "calibration_slope",
    "ece",
)


def model_card(manifest: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        manifest: the content of `bundle.json`.
        evaluation: the content of `evaluation.json`.

    Returns:
        Markdown.
    """
    sections = [
        f"# Model card: {manifest['name']}\n\n**{RESEARCH_ONLY}**\n\nVersion {manifest['version']}. {verdict(evaluation)}",
        _model(manifest),
        "## Intended use\n\nA second opinion in research and teaching on single frontal chest X-rays (PA, AP, AP supine) "
        "of adults, read beside the film by someone who can read it.",
        "## Out of scope\n\nDiagnosis, triage, screening; CT, lateral views, children; films that no one else looks at.",
        "## Factors\n\n"
        "- Publisher: some show one class only. Figures within a source take that out; a new hospital is a new source.\n"
        "- View: most bedside films (AP, AP supine) show COVID-19 here.\n"
        "- Age, sex, severity and country: missing for many films, and not balanced between the classes.\n"
        "- Exposure, cropping and burned-in text differ between publishers; the preparation evens out contrast only.",
        _training_data(manifest),
        _training(manifest),
        _evaluation(manifest, evaluation),
        _beyond(evaluation),
        "## Limitations\n\n- The films come from publications and case collections, not from a clinic's daily work: what was "
        "published is unusual, and a model can earn part of its score by recognising the publisher.\n"
        "- The reference standard is the finding given by the source; not every case is confirmed by RT-PCR.\n"
        f"- {_fairness(evaluation)}\n"
        "- Recipe, preparation and operating point were chosen on this same collection, so its figures are somewhat too good.\n"
        "- Figures that speak of calibration weigh the classes to be equally common.\n"
        "- COVID-19 is less likely than the number says wherever it is rarer than the calibration assumes.",
        _licences(manifest),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _model(manifest: Mapping[str, Any]) -> str:
    weights, size = manifest["starting_weights"], manifest["preparation"]["size"]
    lines = [
        f"Backbone: {manifest['backbone']}, input {size} x {size} grey; {manifest['architecture']}.",
        f"Output: P(covid). Class order: {', '.join(f'{index} = {name}' for index, name in enumerate(CLASSES))}.",
        f"Stage: {manifest['stage']}.",
        f"Starting weights: {weights['name']} ({weights['origin']}).",
        f"Operating point: {manifest['threshold']['value']:.3g}; {manifest['threshold']['method']}.",
        f"Calibration: {_calibration(manifest['calibration'])}.",
    ]
    if manifest.get("three_way"):
        band = manifest["three_way"]
        lines.append(
            f"Three-way decision: indeterminate from {band['lower']:.3f} to {band['upper']:.3f}, by class-conditional "
            f"conformal prediction across folds, asked for {band['coverage']:.0%} coverage."
        )
    lines.append(
        f"LiteRT against Keras on {manifest['parity']['films']} films: largest difference "
        f"{manifest['parity']['max_abs_difference']:.1e}."
    )
    return "## Model\n\n" + "\n".join(f"- {line}" for line in lines)


def _calibration(calibration: Mapping[str, Any]) -> str:
    if calibration["method"] == "none":
        return f"none; {calibration['note'] or 'the output is shown as it is'}".rstrip(".")
    return (
        f"{calibration['method']}, fitted on the {calibration['fitted_on']} ({calibration['n']} films), for a share of "
        f"COVID-19 films of {calibration['prevalence']:.0%}"
    )


def _training_data(manifest: Mapping[str, Any]) -> str:
    dataset = manifest["training"]["dataset"]
    rows = [
        f"| {count['part']} | {count['label']} | {count['images']} | {count['patients']} |"
        for count in dataset["counts"]
    ]
    text = (
        "## Training data\n\nCOVID-19 Image Data Collection, frontal X-rays with a finding. No patient and no duplicate film "
        "stands in two parts or folds.\n\n| part | class | films | patients |\n|---|---|---:|---:|\n" + "\n".join(rows)
    )
    if dataset.get("lung_masks"):
        text += f"\n\nThe lung map was trained on the lung masks of {dataset['lung_masks']} of these films."
    if dataset.get("collections"):
        others = "\n".join(f"| {one['source']} | {one['images']} | {one['groups']} |" for one in dataset["collections"])
        text += (
            "\n\nThe network was trained on these collections and never on an image of the dataset; the two linear questions "
            "behind it were fitted on both. Copies of images that the model is judged on were left out. Patients are known for "
            f"SIIM only.\n\n| collection | images | patients or images |\n|---|---:|---:|\n{others}\n\nThe figures at hospitals "
            "it has never seen are those of other networks, each trained in the same way without what it is judged on:\n\n"
            "| network | hospital groups left out | collection left out | images |\n|---|---|---|---:|\n"
            + "\n".join(
                f"| {one['name']} | {', '.join(one['sites']) or 'none'} | {one['source'] or 'none'} | {one['images']} |"
                for one in manifest["training"]["networks"]
            )
        )
    return text


def _training(manifest: Mapping[str, Any]) -> str:
    training = manifest["training"]
    stages = "\n".join(f"- {_stage(name, stage)}" for name, stage in training["stages"].items())
    versions = ", ".join(f"{name} {version}" for name, version in training["versions"].items())
    return (
        f"## Training\n\n{stages}\n- Seed {training['runtime']['seed']}, {training['runtime']['threads']} threads, oneDNN "
        f"{'on' if training['runtime']['onednn'] else 'off'}; commit {training['commit'] or 'unknown'}; {versions}."
    )


def _stage(name: str, stage: Mapping[str, Any]) -> str:
    if "best_epoch" not in stage:
        return f"{name}: {stage['seconds']:.0f} s, the evaluation included"
    return (
        f"{name}: {stage['epochs']} epochs in {stage['seconds']:.0f} s, best epoch {stage['best_epoch']} "
        f"(validation loss {stage['val_loss']:.3f}, AUC {stage['val_auc']:.3f})"
    )


def _evaluation(manifest: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {MEANINGS[name][0]} | {described(evaluation['metrics'][name])} |" for name in _METRICS)
    (tn, fp), (fn, tp) = evaluation["confusion_matrix"]
    return (
        f"## Evaluation\n\n{films_in_words(evaluation)}, at the operating point {manifest['threshold']['value']:.3g}.\n\n"
        f"| figure | value (95% interval) |\n|---|---|\n{rows}\n\n"
        f"| reference standard | called non_covid | called covid |\n|---|---:|---:|\n| non_covid | {tn} | {fp} |\n"
        f"| covid | {fn} | {tp} |"
    )


def _beyond(evaluation: Mapping[str, Any]) -> str:
    """The further measurements, those that were made; empty where none was."""
    tables = further_tables(evaluation)
    if not tables:
        return ""
    parts = [f"### {one.title}\n\n{one.note}\n\n{markdown_table(one.table)}" for one in tables]
    return "## Beyond one number\n\n" + "\n\n".join(parts)


def _fairness(evaluation: Mapping[str, Any]) -> str:
    if "subgroups" not in evaluation:
        return "Fairness between groups was not tested."
    return "Differences between groups of sex, age, view and source were measured, not mended: see the model report."


def _licences(manifest: Mapping[str, Any]) -> str:
    return "## Licences\n\n" + "\n".join(f"- {what}: {licence}" for what, licence in manifest["licences"].items())
