"""What others have published (`published.toml`), as tables beside a model's own figures. The argument is in docs/ORIGINAL.md."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.evaluation.summary import described, images_in_words

_FIGURES = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "within_source_auc": "ROC AUC within a source",
}


@cache
def published() -> dict[str, Any]:
    """The content of `published.toml`: `original`, the system that this one reimplements, and `field`, other systems."""
    return tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))


def original_figures() -> dict[str, float]:
    """The original's `sensitivity`, `specificity` and `balanced_accuracy`, in [0, 1], its class names put right."""
    shares = {
        name: right / of for name in ("sensitivity", "specificity") for right, of in [published()["original"][name]]
    }
    return {**shares, "balanced_accuracy": sum(shares.values()) / 2}


def original_table() -> pd.DataFrame:
    """The original's rows as printed and what they mean once the class names are put right; text in every cell."""
    return pd.DataFrame(published()["original"]["rows"])


def published_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """Our figures with their intervals above those of other systems; text in every cell."""
    ours = {
        "Model": f"{evaluation['model']} (this model)",
        "Tested on": images_in_words(evaluation),
        "Reference standard": "the finding given by the source of the image; not every case is confirmed by RT-PCR",
        "Figure": "; ".join(f"{title} {described(evaluation['metrics'][name])}" for name, title in _FIGURES.items()),
        "Comparable?": (
            "The row to compare with. Within a source, images of one publisher are compared with each other only, so that "
            "recognising the publisher earns nothing."
        ),
    }
    return pd.DataFrame([ours, *published()["field"]])
