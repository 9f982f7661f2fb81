"""What a table of images holds, as plotly figures: findings, ages, days, outcomes, what is not given, countries.

They need no file from elsewhere: plotly's own maps load the outlines of the countries
from the net, so images by country stand on axes of longitude and latitude, over the land of
`land.json`: rings of [longitude, latitude] in degrees, from Natural Earth 1:110m (public domain), made coarser to 0.35 degrees,
without Antarctica and small islands.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from covid_core.dataset.filters import NOT_GIVEN
from covid_core.dataset.summaries import Missingness
from covid_core.figures.marks import in_one_line, name_rows, tick_step
from covid_core.figures.theme import ACCENT, CLASS_COLOURS, NEUTRAL, framed
from covid_core.labels import CLASS_TITLES, COVID, NON_COVID, Label, label_of_finding

_PURPLE = "#CC79A7"  # Okabe and Ito's reddish purple
_PALE = "rgba(128, 128, 128, 0.3)"  # clear, for texts in the colour of the page
_LONGEST_NAME = 24
_SEXES = {"F": ("women", _PURPLE, -1), "M": ("men", ACCENT, 1)}
_ANSWERS = {"yes": ACCENT, "no": _PURPLE, "unclear": "#E69F00", NOT_GIVEN: _PALE}
_LAND = Path(__file__).with_name("land.json")
# Clear, so that the texts, which have the colour of the page, can be read on light and dark ones.
_SHARES = [[0, "rgba(128, 128, 128, 0.06)"], [1, "rgba(30, 120, 190, 0.6)"]]
_NAMED_COUNTRIES = 8
_NAME_SIZE = (75, 14)  # degrees that a name takes at 400 px


def finding_treemap(hierarchy: pd.DataFrame) -> go.Figure:
    """Draw the findings of `finding_hierarchy` as areas within areas.

    One that holds images of both classes is grey, the others have their class's colour.
    """
    total = int(hierarchy.loc[hierarchy["parent"] == "", "images"].sum())
    root = "every finding"
    paths = [str(path) for path in hierarchy["id"]]
    names = [in_one_line(str(name), _LONGEST_NAME) for name in hierarchy["name"]]
    above = set(hierarchy["parent"])
    # A finding with others in it has one line for its name, one alone has its whole area.
    labels = [
        f"{name}{' ' if path in above else '<br>'}{images}"
        for name, path, images in zip(names, paths, hierarchy["images"], strict=True)
    ]
    colours = _finding_colours(paths)
    figure = go.Figure(
        go.Treemap(
            ids=[root, *(f"{root}/{path}" for path in paths)],
            parents=["", *(f"{root}/{parent}" if parent else root for parent in hierarchy["parent"])],
            labels=[f"Findings (n = {total} images)", *labels],
            values=[total, *(int(images) for images in hierarchy["images"])],
            branchvalues="total",
            sort=True,
            marker={"colors": [_PALE, *colours], "pad": {"t": 20}},
            texttemplate="%{label}",
            customdata=["every finding", *names],
            hovertemplate="%{customdata}: %{value} images<extra></extra>",
            pathbar={"visible": False},
            tiling={"packing": "squarify", "pad": 2},
        )
    )
    # Names that do not fit at this size are left to the pointer.
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    return framed(figure, height=400).update_layout(margin={"l": 4, "r": 4, "t": 4, "b": 4})


def pyramid(table: pd.DataFrame) -> go.Figure:
    """Draw the patients of `age_sex_pyramid` by age, women to the left and men to the right."""
    shown = table.drop(index=NOT_GIVEN, errors="ignore")
    figure = go.Figure()
    most = max([1, *(int(shown[sex].max()) for sex in _SEXES if len(shown))])
    for sex, (name, colour, side) in _SEXES.items():
        patients = [int(one) for one in shown[sex]]
        figure.add_bar(
            x=[side * one for one in patients],
            y=list(shown.index),
            orientation="h",
            name=f"{name} (n = {sum(patients)})",
            text=patients,
            textposition="outside",
            cliponaxis=False,
            marker_color=colour,
            hovertemplate="%{y} years, " + name + ": %{text} patients<extra></extra>",
        )
    drawn, everybody = int(shown[list(_SEXES)].to_numpy().sum()), int(table.to_numpy().sum())
    step = tick_step(most, 4)
    ticks = [number * step for number in range(-4, 5) if abs(number) * step <= most]
    figure.update_xaxes(
        title=f"Patients (n = {drawn}; not given: {everybody - drawn})",
        range=[-1.25 * most, 1.25 * most],
        tickvals=ticks,
        ticktext=[str(abs(tick)) for tick in ticks],
    )
    figure.update_yaxes(title="Age (years)", type="category", showgrid=False)
    figure.update_layout(barmode="overlay", bargap=0.15)
    return framed(figure, height=400)


def columns(table: pd.DataFrame, title: str, axis: str) -> go.Figure:
    """Draw counts as columns side by side, made of the table's columns: classes, or other names, which are drawn in grey.

    An empty one is left out. `title` is what the names are, as `Days since onset`, `axis` what is counted, as `images`.
    """
    figure = go.Figure()
    totals = [int(one) for one in table.sum(axis=1)]
    names = [in_one_line(str(name), _LONGEST_NAME) for name in table.index]
    several = len(table.columns) > 1
    for column in table.columns:
        counts = [int(one) for one in table[column]]
        if several and not any(counts):
            continue
        name = in_one_line(CLASS_TITLES.get(str(column), str(column)), _LONGEST_NAME)
        figure.add_bar(
            x=list(range(len(names))),
            y=counts,
            name=name,
            marker_color=CLASS_COLOURS.get(str(column), NEUTRAL),
            showlegend=several,
            hovertext=names,
            hovertemplate="%{hovertext}, " + name + ": %{y} " + axis + "<extra></extra>",
        )
    for position, total in enumerate(totals):
        figure.add_annotation(x=position, y=total, text=str(total), showarrow=False, yanchor="bottom")
    figure.update_layout(barmode="stack", bargap=0.15, legend_traceorder="normal")
    figure.update_xaxes(
        title=f"{title} (n = {sum(totals)} {axis})", tickvals=list(range(len(names))), ticktext=names, showgrid=False
    )
    figure.update_yaxes(title=axis.capitalize(), range=[0, 1.12 * max([*totals, 1])])
    return framed(figure, height=340)


def answers(table: pd.DataFrame) -> go.Figure:
    """Draw what is known of each outcome (of `outcomes`) as a bar of all images."""
    figure = go.Figure()
    rows = list(range(len(table)))
    for column in table.columns:
        counts = [int(one) for one in table[column]]
        if any(counts):
            figure.add_bar(
                x=counts,
                y=rows,
                orientation="h",
                name=str(column),
                marker_color=_ANSWERS.get(str(column), NEUTRAL),
                text=[one or "" for one in counts],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                hovertext=[str(name) for name in table.index],
                hovertemplate="%{hovertext}, " + str(column) + ": %{x} images<extra></extra>",
            )
    total = int(table.sum(axis=1).max()) if len(table) else 0
    figure.update_layout(barmode="stack", bargap=0.25, legend_traceorder="normal")
    figure.update_xaxes(title=f"Images (n = {total})", range=[0, max(total, 1)])
    name_rows(figure, "Outcome", list(table.index), range=[len(rows) - 0.5, -0.5])
    return framed(figure, height=120 + 34 * max(len(rows), 1))


def missing_map(missing: Missingness) -> go.Figure:
    """Draw which share of each column is not given, over all images and by class; a group without images is left out."""
    groups = [str(name) for name, images in missing.images.items() if images]
    shares = [
        [100 * float(row[name]) / int(missing.images[name]) for name in groups] for _, row in missing.blanks.iterrows()
    ]
    titles = {"all": "All", NOT_GIVEN: "No class", **CLASS_TITLES}
    names = [in_one_line(str(name), _LONGEST_NAME) for name in missing.blanks.index]
    figure = go.Figure(
        go.Heatmap(
            z=shares or [[]],
            x=list(range(len(groups))),
            y=list(range(len(names))),
            zmin=0,
            zmax=100,
            colorscale=_SHARES,
            showscale=False,
            xgap=1,
            ygap=1,
            texttemplate="%{z:.0f}",
            customdata=[[[name, titles.get(group, group)] for group in groups] for name in names],
            hovertemplate="%{customdata[0]}, %{customdata[1]}: %{z:.1f}% not given<extra></extra>",
        )
    )
    figure.update_xaxes(
        title="Not given, % of the images",
        tickvals=list(range(len(groups))),
        ticktext=[
            f"{titles.get(group, group).replace(' ', '<br>')}<br>{int(missing.images[group])}" for group in groups
        ],
        showgrid=False,
        tickfont={"size": 11},
        tickangle=0,
    )
    name_rows(figure, "Column", names, tickfont={"size": 11})
    return framed(figure, height=120 + 20 * max(len(names), 1))


def country_map(table: pd.DataFrame) -> go.Figure:
    """Draw `images_by_country` as circles, their areas as the images; the countries with the most are named."""
    placed = table[table["latitude"].notna()]
    images = [int(one) for one in placed["images"]]
    unplaced = int(table["images"].sum()) - sum(images)
    figure = go.Figure(_land())
    figure.add_trace(
        go.Scatter(
            x=list(placed["longitude"]),
            y=list(placed["latitude"]),
            mode="markers+text",
            marker={
                "size": images,
                "sizemode": "area",
                "sizeref": 2 * max([*images, 1]) / 34**2,
                "sizemin": 3,
                "color": "rgba(0, 158, 115, 0.7)",
                "line": {"color": ACCENT, "width": 1},
            },
            text=_named(placed),
            textposition="top center",
            textfont={"size": 11},
            cliponaxis=False,
            customdata=list(zip(placed["name"], images, (int(one) for one in placed["patients"]), strict=True)),
            hovertemplate="%{customdata[0]}: %{customdata[1]} images, %{customdata[2]} patients<extra></extra>",
        )
    )
    figure.update_xaxes(
        title=f"Longitude (n = {sum(images)}; not given: {unplaced})",
        range=[-180, 180],
        tickvals=[-120, -60, 0, 60, 120],
        ticktext=["120° W", "60° W", "0°", "60° E", "120° E"],
    )
    figure.update_layout(showlegend=False)
    figure.update_yaxes(title="Latitude", range=[-60, 85], tickvals=[-40, 0, 40], ticktext=["40° S", "0°", "40° N"])
    return framed(figure, height=400)


@cache
def _land() -> go.Scatter:
    rings = json.loads(_LAND.read_text(encoding="utf-8"))
    gaps = [[*ring, [None, None]] for ring in rings]
    return go.Scatter(
        x=[point[0] for ring in gaps for point in ring],
        y=[point[1] for ring in gaps for point in ring],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor="rgba(128, 128, 128, 0.22)",
        hoverinfo="skip",
    )


def _finding_colours(paths: Sequence[str]) -> list[str]:
    """The colour of the class of each finding and of all below it; grey where they differ or there is none."""
    labels: dict[str, set[Label | None]] = {path: set() for path in paths}
    for path in paths:
        label, above = label_of_finding(path), path
        while above:
            labels[above].add(label)
            above = above.rpartition("/")[0]
    return [_colour_of_finding(path, labels[path]) for path in paths]


def _colour_of_finding(path: str, labels: set[Label | None]) -> str:
    if path == NOT_GIVEN or (labels != {COVID} and COVID in labels):
        return _PALE
    return CLASS_COLOURS[COVID if labels == {COVID} else NON_COVID]


def _named(placed: pd.DataFrame) -> list[str]:
    """The names of the countries with the most images, as far as no two stand in each other's way."""
    width, height = _NAME_SIZE
    taken: list[tuple[float, float]] = []
    names = []
    for name, x, y in zip(placed["name"], placed["longitude"], placed["latitude"], strict=True):
        free = len(taken) < _NAMED_COUNTRIES and all(
            abs(x - left) > width or abs(y - top) > height for left, top in taken
        )
        taken += [(x, y)] if free else []
        names.append(name if free else "")
    return names
