"""The model card of a bundle: every figure in it comes from the bundle's manifest and its evaluation.

The sections (`model_report/assets/model_card.md`) follow Mitchell et al. 2019 (https://arxiv.org/abs/1810.03993) and the template
of the Hugging Face Hub. The tables are those of the model report.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.evaluation.summary import images_in_words, verdict
from covid_core.labels import CLASSES
from covid_core.report.document import Table
from covid_core.report.tables import area_table, calibration_table, call_table, confusion_table, optional_tables
from covid_core.text import RESEARCH_ONLY

_TEMPLATE = Path(__file__).parent / "assets" / "model_card.md"


def model_card(manifest: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """Write the card in Markdown, from the content of `bundle.json` and of `evaluation.json`."""
    fairness = "Fairness between groups was not tested."
    if "subgroups" in evaluation:
        fairness = (
            "Differences between groups of sex, age, view and source were measured, not mended: see the model report."
        )
    tables = [make(evaluation) for make in (call_table, area_table, calibration_table, confusion_table)]
    figures, beyond = "\n\n".join(map(_section, tables)), "\n\n".join(map(_section, optional_tables(evaluation)))
    return _TEMPLATE.read_text(encoding="utf-8").format(
        name=manifest["name"],
        research_only=RESEARCH_ONLY,
        version=manifest["version"],
        verdict=verdict(evaluation),
        model=_bullets(_model(manifest)),
        training_data="\n\n".join(_training_data(manifest["training"])),
        training=_bullets(_training(manifest["training"])),
        images=images_in_words(evaluation),
        threshold=f"{manifest['threshold']['value']:.3g}",
        evaluation=f"{figures}\n\n## Beyond one number\n\n{beyond}" if beyond else figures,
        fairness=fairness,
        licences=_bullets(f"{what}: {licence}" for what, licence in manifest["licences"].items()),
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _section(table: Table) -> str:
    return "\n\n".join(part for part in (f"### {table.title}", table.note, table.markdown()) if part)


def _model(manifest: Mapping[str, Any]) -> Iterator[str]:
    weights, size, threshold = manifest["starting_weights"], manifest["preparation"]["size"], manifest["threshold"]
    yield f"Backbone: {manifest['backbone']}, input {size} x {size} grey; {manifest['architecture']}."
    yield f"Output: P(covid). Class order: {', '.join(f'{index} = {name}' for index, name in enumerate(CLASSES))}."
    yield f"Stage: {manifest['stage']}."
    yield f"Starting weights: {weights['name']} ({weights['origin']})."
    yield f"Operating point: {threshold['value']:.3g}; {threshold['method']}."
    yield f"Calibration: {_calibration(manifest['calibration'])}."
    if band := manifest.get("three_way"):
        yield (
            f"Three-way decision: indeterminate from {band['lower']:.3f} to {band['upper']:.3f}, by class-conditional "
            f"conformal prediction across folds, with a target of {band['coverage']:.0%} coverage."
        )
    parity = manifest["parity"]
    yield f"LiteRT against Keras on {parity['films']} images: largest difference {parity['max_abs_difference']:.1e}."


def _calibration(calibration: Mapping[str, Any]) -> str:
    if calibration["method"] == "none":
        return f"none; {calibration['note'] or 'the output is shown as it is'}".rstrip(".")
    return (
        f"{calibration['method']}, fitted on the {calibration['fitted_on']} ({calibration['n']} images), for a share of "
        f"COVID-19 images of {calibration['prevalence']:.0%}"
    )


def _training_data(training: Mapping[str, Any]) -> Iterator[str]:
    dataset = training["dataset"]
    counts = ([one[name] for name in ("part", "label", "images", "patients")] for one in dataset["counts"])
    yield _markdown(("part", "class", "images", "patients"), counts)
    if dataset.get("lung_masks"):
        yield f"The lung map was trained on the lung masks of {dataset['lung_masks']} of these images."
    if not dataset.get("collections"):
        return
    yield (
        "The network was trained on these collections and never on an image of the dataset; the two linear questions behind it "
        "were fitted on both. Copies of images that the model is judged on were left out. Patients are known for SIIM only."
    )
    collections = ([one[name] for name in ("source", "images", "groups")] for one in dataset["collections"])
    yield _markdown(("collection", "images", "patients or images"), collections)
    yield (
        "The figures at hospitals it has never seen are those of other networks, each trained in the same way without what it is "
        "judged on:"
    )
    networks = (
        [one["name"], ", ".join(one["sites"]) or "none", one["source"] or "none", one["images"]]
        for one in training["networks"]
    )
    yield _markdown(("network", "hospital groups left out", "collection left out", "images"), networks)


def _markdown(columns: tuple[str, ...], rows: Iterable[list[Any]]) -> str:
    return Table("", "", pd.DataFrame(list(rows), columns=list(columns)).astype(str)).markdown()


def _training(training: Mapping[str, Any]) -> Iterator[str]:
    for name, stage in training["stages"].items():
        if "best_epoch" in stage:
            yield (
                f"{name}: {stage['epochs']} epochs in {stage['seconds']:.0f} s, best epoch {stage['best_epoch']} "
                f"(validation loss {stage['val_loss']:.3f}, AUC {stage['val_auc']:.3f})"
            )
        else:
            yield f"{name}: {stage['seconds']:.0f} s, the evaluation included"
    runtime, versions = training["runtime"], ", ".join(f"{name} {one}" for name, one in training["versions"].items())
    yield (
        f"Seed {runtime['seed']}, {runtime['threads']} threads, oneDNN {'on' if runtime['onednn'] else 'off'}; commit "
        f"{training['commit'] or 'unknown'}; {versions}."
    )
