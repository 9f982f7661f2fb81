"""How tests look at a figure: its texts and traces, what the page must be free to choose, and whether colours are
distinguished.
"""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go

from covid_core.evaluation.evaluate import evaluate
from covid_core.paths import PROJECT
from tests.evaluation.made_up import predictions

MIXED = np.array([0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1] * 3).astype(bool)
THEMES = tomllib.loads((PROJECT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]


def evaluation_of(labels: np.ndarray) -> dict[str, Any]:
    """An evaluation at threshold 0.5 of images whose probabilities run evenly from 0 to 1."""
    table = predictions(labels, np.linspace(0, 1, len(labels)))
    return evaluate(table, model="m", threshold=0.5, n_resamples=50)


def texts(figure: go.Figure) -> list[str]:
    return [annotation.text for annotation in figure.layout.annotations]


def trace(figure: go.Figure, name: str) -> Any:
    (only,) = [one for one in figure.data if one.name is not None and one.name.startswith(name)]
    return only


def outline(fill: Any) -> set[tuple[float, float]]:
    return {(x, y) for x, y in zip(fill.x, fill.y, strict=True) if x is not None}


def assert_it_leaves_background_and_text_colour_to_the_page(figure: go.Figure) -> None:
    content = json.loads(figure.to_json())
    content["layout"].pop("template", None)
    assert content["layout"]["paper_bgcolor"] == content["layout"]["plot_bgcolor"] == "rgba(0, 0, 0, 0)"
    assert not [path for path in _keys_of(content) if path.endswith("font.color")]


def assert_it_suits_every_page(figure: go.Figure) -> None:
    """No background, no colour of text, and a title on both axes."""
    assert_it_leaves_background_and_text_colour_to_the_page(figure)
    assert figure.layout.title.text is None
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text


def rgb(colour: str) -> np.ndarray:
    """The 8 bit sRGB of `#RRGGBB`."""
    return np.array(list(bytes.fromhex(colour.removeprefix("#"))))


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """Contrast ratio of two colours in 8 bit sRGB, as of WCAG 2.2: 1 to 21. Level AA asks 4.5 of text and 3 of the rest."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: np.ndarray) -> float:
    share = colour / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _keys_of(value: Any, path: str = "") -> Iterator[str]:
    """Every path of keys in nested dicts and lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key}"
            yield from _keys_of(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _keys_of(inner, path)
