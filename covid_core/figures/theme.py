"""What all figures share: no background, no colour of text, the colours of the classes, room for the labels.

Every figure is transparent and leaves the colour of text to the surrounding theme, so that it reads on a light and on a dark
page; the two classes keep their colours everywhere; labels are short enough for 400 px.
"""

import plotly.graph_objects as go

from covid_core.labels import COVID, NON_COVID

CLASS_COLOURS: dict[str, str] = {NON_COVID: "#0072B2", COVID: "#D55E00"}
"""From the palette of Okabe and Ito (2008), told apart with every common colour vision deficiency."""
NEUTRAL = "#8C8C8C"
"""A grey that stands out from white and from black alike."""
ACCENT = "#009E73"
"""Okabe and Ito's bluish green, for what is no class."""
CLEAR = "rgba(0, 0, 0, 0)"
BLUE_RGB, ORANGE_RGB, ACCENT_RGB = "0, 114, 178", "213, 94, 0", "0, 158, 115"
"""The same colours as red, green and blue, for fills that one sees through: `rgba({BLUE_RGB}, 0.35)`."""
_GRID = "rgba(128, 128, 128, 0.25)"


def framed(figure: go.Figure, *, height: int) -> go.Figure:
    """What all figures share: no background, no colour of text, room for the labels, the legend above."""
    figure.update_layout(
        template="none",
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        height=height,
        margin={"l": 8, "r": 16, "t": 32, "b": 8},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "bgcolor": CLEAR},
        hovermode="closest",
    )
    figure.update_xaxes(automargin=True, gridcolor=_GRID, zeroline=False)
    figure.update_yaxes(automargin=True, gridcolor=_GRID, zeroline=False, title_standoff=10)
    return figure


def say(figure: go.Figure, sentence: str) -> None:
    """Write a sentence where a curve would be."""
    figure.add_annotation(x=0.5, y=0.5, xref="paper", yref="paper", text=sentence, showarrow=False)
