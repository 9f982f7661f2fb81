"""The chapters on where a model comes from: how it was trained, beside what others report, and which patients its images show."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from covid_core.dataset.cohort import flow_table
from covid_core.evaluation.published import original_table, published, published_table
from covid_core.figures.dataset import flow
from covid_core.figures.evaluation import training_curves
from covid_core.figures.groups import distributions
from covid_core.labels import CLASS_TITLES
from covid_core.report.document import Chart, Item, Table, Words
from covid_core.report.record import Record
from covid_core.report.tables import measured, not_measured
from covid_core.report.words import chart
from covid_core.text import card_lines

CARD_SECTIONS = (
    *("Intended use", "Out of scope", "Limitations", "Factors"),
    *("Model", "Training data", "Training", "Licences"),
)
_PARTS = {
    **{"name": "Part", "images": "Images", "patients": "Patients"},
    **{"covid": "COVID-19", "non_covid": "Not COVID-19"},
}
_DISTRIBUTIONS = {"label": "Class", "view": "View", "sex": "Sex", "age": "Age", "source": "Source"}


def training(record: Record) -> tuple[Item, ...]:
    """How the model was trained, and its figures beside those of the original and of the field."""
    if record.history is not None:
        how: Item = chart("training-curves", training_curves(record.history))
    elif record.history_problem:
        how = Words(record.history_problem, "caution")
    else:
        how = Words(
            "The network was trained for a fixed number of epochs without a validation part, so nothing was chosen by a curve. "
            "Its losses after each epoch are in the bundle's history.csv."
        )
    note = "Figures measured on other images are no contest; each row says why it is or is not comparable."
    return (
        how,
        *_recipe(record.manifest),
        *measured(record.evaluation, "seeds", "original_protocol"),
        Table("original", "What the original reported", original_table(), published()["original"]["argument"]),
        Table("published", "Beside the figures of the field", published_table(record.evaluation), note),
    )


def _recipe(manifest: Mapping[str, Any]) -> Iterator[Item]:
    short, whole = short_recipe(manifest), recipe_table(manifest)
    if whole.empty:
        yield Words("This model does not say by what recipe it was trained. Export it again with `export`.", "caution")
        return
    if not short.empty:
        yield Table("recipe", "In short", short)
    yield Table("recipe-in-full", "Recipe in full", whole, folded=True)


def cohort(record: Record) -> tuple[Item, ...]:
    """Which patients the images show: from the table to the images used, what parts share, and what they are made of."""
    block = record.evaluation.get("cohort")
    if not block:
        return not_measured("cohort", record.name)
    items: list[Item] = [Words(_overlap_in_words(block), "plain" if _is_clean(block) else "caution")]
    if block["flow"]:
        items.append(chart("flow", flow(block["flow"])))
        items.append(Table("flow-table", "The same in numbers", flow_table(block["flow"]), folded=True))
    parts = pd.DataFrame(block["parts"])[list(_PARTS)].rename(columns=_PARTS).astype(str)
    items.append(Table("parts", "Parts", parts, block.get("note") or ""))
    for column, title in _DISTRIBUTIONS.items():
        if not block["distributions"].get(column):
            continue
        counts = pd.DataFrame(block["distributions"][column]).T.fillna(0).astype(int).rename(index=CLASS_TITLES)
        figure, name = distributions(counts, title, "images"), f"distribution-{column}"
        alt = f"Bars: share of images by {title.lower()} in each part; the table says the same"
        cells = counts.astype(str).rename_axis(title).reset_index()
        items.append(Chart(name, f"{title}, part by part", figure, alt))
        items.append(Table(f"{name}-table", f"{title} in numbers of images", cells, folded=True))
    return tuple(items)


def card(record: Record) -> tuple[Item, ...]:
    """The model card, but for the figures that the other chapters show."""
    rows = [
        {"Section": title, "Says": line} for title in CARD_SECTIONS for line in card_lines(record.card.get(title, ""))
    ]
    if not rows:
        return (Words("The model card of this model cannot be read. Export it again with `export`.", "caution"),)
    return (Table("model-card", "Model card", pd.DataFrame(rows)),)


def short_recipe(manifest: Mapping[str, Any]) -> pd.DataFrame:
    """The lines of the recipe that are asked for first; text in every cell."""
    training, weights = manifest.get("training", {}), manifest.get("starting_weights") or {}
    counts = training.get("dataset", {}).get("counts", [])
    trained_on = [f"{one['images']} {one['label']} ({one['part']})" for one in counts]
    stages = [f"{name} {stage['seconds']:.0f} s" for name, stage in training.get("stages", {}).items()]
    lines = {
        "Architecture": manifest.get("architecture"),
        "Starting weights": weights.get("name"),
        "Where they come from": weights.get("origin"),
        "Images": ", ".join(trained_on),
        "Seed": training.get("runtime", {}).get("seed"),
        "Time": ", ".join(stages),
        "Commit": training.get("commit"),
    }
    rows = [(title, str(value)) for title, value in lines.items() if value not in {None, ""}]
    return pd.DataFrame(rows, columns=["", "Says"])


def recipe_table(manifest: Mapping[str, Any]) -> pd.DataFrame:
    """What a bundle says of its training, one row a setting, nested names joined by dots; text in every cell."""
    training = manifest.get("training", {})
    named = {
        "version": manifest.get("version"),
        "created": manifest.get("created"),
        "architecture": manifest.get("architecture"),
        "starting_weights": manifest.get("starting_weights"),
        **{name: training.get(name) for name in ("recipe", "dataset", "stages", "runtime", "versions", "commit")},
    }
    return pd.DataFrame(_flat(named), columns=["Setting", "Value"])


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flat(inner, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        return [row for number, inner in enumerate(value, start=1) for row in _flat(inner, f"{name}.{number}")]
    if value is None:
        return []
    if isinstance(value, list):
        return [(name, ", ".join(str(inner) for inner in value if inner is not None))]
    return [(name, str(value))]


def _is_clean(block: Mapping[str, Any]) -> bool:
    return not any(block["overlap"].values())


def _overlap_in_words(block: Mapping[str, Any]) -> str:
    shared = block["overlap"]
    duplicates = "not known" if shared["duplicates"] is None else shared["duplicates"]
    said = (
        f"Patients in more than one part: {shared['patients']}. Duplicate images in more than one part: {duplicates}."
    )
    if _is_clean(block):
        return said
    return f"{said} The figures of this model are too good: it was judged on patients, or on images, that it was trained on."
