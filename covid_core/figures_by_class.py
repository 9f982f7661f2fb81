"""Counts by class as a plotly figure, in the colours and the manner of `covid_core.figures`."""

import pandas as pd
import plotly.graph_objects as go

from covid_core.figures import CLASS_COLOURS, NEUTRAL, counts_bar
from covid_core.labels import CLASS_TITLES


def stacked_counts(table: pd.DataFrame, title: str, axis: str) -> go.Figure:
    """Draw counts as horizontal bars, each made of the classes.

    Args:
        table: counts, the index holding the names of the bars, the columns the classes; another column is drawn in grey
            under its own name.
        title: what the names are, e.g. `View`.
        axis: what is counted, e.g. `images`.
    """
    figure = counts_bar(table.sum(axis=1), title, axis)
    totals = figure.data[0]
    positions = list(totals.y)
    figure.data = ()
    for column in table.columns:
        name = {str(key): text for key, text in CLASS_TITLES.items()}.get(str(column), str(column))
        figure.add_bar(
            x=[int(count) for count in table[column]],
            y=positions,
            orientation="h",
            name=name,
            marker_color={str(key): colour for key, colour in CLASS_COLOURS.items()}.get(str(column), NEUTRAL),
            hovertext=[str(one) for one in table.index],
            hovertemplate="%{hovertext}, " + name + ": %{x} " + axis + "<extra></extra>",
        )
    for position, total in zip(positions, totals.x, strict=True):
        figure.add_annotation(x=total, y=position, text=str(total), showarrow=False, xanchor="left", xshift=4)
    return figure.update_layout(barmode="stack", legend_traceorder="normal", height=figure.layout.height + 30)
