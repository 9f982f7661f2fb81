"""The model card of a bundle: every figure in it comes from the bundle's manifest and its evaluation.

The sections follow Mitchell et al. 2019 (https://arxiv.org/abs/1810.03993).
"""

import re
from collections.abc import Mapping
from typing import Any

from covid_core.evaluation.summary import described, verdict
from covid_core.evaluation.tables import MEANINGS
from covid_core.labels import CLASSES

RESEARCH_ONLY = "For research use only. Not a medical device: never decide about a patient by it."

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
        "of adults, read beside the film by someone who can read it.\n\nOut of scope: diagnosis, triage, screening; CT, "
        "lateral views, children; films that no one else looks at.",
        _training(manifest),
        _evaluation(manifest, evaluation),
        "## Limitations\n\n- The films come from publications and case collections, not from a clinic's daily work: what was "
        "published is unusual, and some publishers show one class only. A model can earn part of its score by recognising the "
        "publisher; the figures above do not take that out.\n- The reference standard is the finding given by the source; "
        "not every case is confirmed by RT-PCR.\n- Age, sex and country are missing for many films; fairness between groups was "
        "not tested.\n- The way films are cropped and stretched was chosen in a pilot on films of the same collection, patients "
        "apart, test patients included.\n- COVID-19 is less likely than the number says wherever it is rarer than the "
        "calibration assumes.",
        _licences(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def card_sections(card: str) -> dict[str, str]:
    """Take a card apart: the title of each section -> its Markdown. What stands before the first section is left out."""
    parts = (part.split("\n", 1) for part in re.split(r"^## ", card, flags=re.MULTILINE)[1:])
    return {part[0].strip(): part[-1].strip() for part in parts}


def _model(manifest: Mapping[str, Any]) -> str:
    recipe, weights = manifest["training"]["recipe"], manifest["starting_weights"]
    size = manifest["preparation"]["size"]
    return (
        "## Model\n\n"
        f"- Backbone: {manifest['backbone']}, input {size} x {size} grey; head: global average pooling, "
        f"Dense {recipe['hidden_units']}, Dropout {recipe['dropout']:g}, one sigmoid.\n"
        f"- Output: P(covid). Class order: {', '.join(f'{index} = {name}' for index, name in enumerate(CLASSES))}.\n"
        f"- Stage: {manifest['stage']}.\n"
        f"- Starting weights: {weights['name']} ({weights['origin']}).\n"
        f"- Operating point: {manifest['threshold']['value']:g}; {manifest['threshold']['method']}.\n"
        f"- Calibration: {_calibration(manifest['calibration'])}.\n"
        f"- LiteRT against Keras on {manifest['parity']['films']} films: largest difference "
        f"{manifest['parity']['max_abs_difference']:.1e}."
    )


def _calibration(calibration: Mapping[str, Any]) -> str:
    if calibration["method"] == "none":
        return f"none; {calibration['note'] or 'the output is shown as it is'}".rstrip(".")
    return (
        f"{calibration['method']}, fitted on the {calibration['fitted_on']} ({calibration['n']} films), for a share of "
        f"COVID-19 films of {calibration['prevalence']:.0%}"
    )


def _training(manifest: Mapping[str, Any]) -> str:
    training = manifest["training"]
    rows = "\n".join(
        f"| {count['part']} | {count['label']} | {count['images']} | {count['patients']} |"
        for count in training["dataset"]["counts"]
    )
    stages = "\n".join(
        f"- {name}: {stage['epochs']} epochs in {stage['seconds']:.0f} s, best epoch {stage['best_epoch']} "
        f"(validation loss {stage['val_loss']:.3f}, AUC {stage['val_auc']:.3f})"
        for name, stage in training["stages"].items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in training["versions"].items())
    return (
        "## Training data\n\nCOVID-19 Image Data Collection, frontal X-rays with a finding. No patient and no duplicate film "
        f"stands in two parts.\n\n| part | class | films | patients |\n|---|---|---:|---:|\n{rows}\n\n"
        f"## Training\n\n{stages}\n- Seed {training['runtime']['seed']}, {training['runtime']['threads']} threads, oneDNN "
        f"{'on' if training['runtime']['onednn'] else 'off'}; commit {training['commit'] or 'unknown'}; {versions}."
    )


def _evaluation(manifest: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    counts = evaluation["counts"]
    rows = "\n".join(f"| {MEANINGS[name][0]} | {described(evaluation['metrics'][name])} |" for name in _METRICS)
    (tn, fp), (fn, tp) = evaluation["confusion_matrix"]
    return (
        f"## Evaluation\n\nThe {evaluation['part']} part: {counts['images']} films of {counts['patients']} patients that neither "
        f"training nor calibration saw, at the operating point {manifest['threshold']['value']:g}.\n\n"
        f"| figure | value (95% interval) |\n|---|---|\n{rows}\n\n"
        f"| reference standard | called non_covid | called covid |\n|---|---:|---:|\n| non_covid | {tn} | {fp} |\n"
        f"| covid | {fn} | {tp} |"
    )


def _licences(manifest: Mapping[str, Any]) -> str:
    return "## Licences\n\n" + "\n".join(f"- {what}: {licence}" for what, licence in manifest["licences"].items())
