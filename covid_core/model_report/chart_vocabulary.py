"""What of plotly's words `chart_drawing` draws, or may pass over on paper; every other word is named to the reader."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from covid_core.model_report.chart_axes import listed
from covid_core.model_report.chart_marks import DASHES, SHAPES, SYMBOLS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TRACE = _words(
    "cliponaxis customdata hoverinfo hoverlabel hoveron hovertemplate hovertext ids legendgroup legendrank meta mode name "
    "opacity showlegend type uid visible x xaxis xhoverformat y yaxis yhoverformat"
)
_LINE = _words("color dash shape width")
_MARKER = _words("color line opacity size symbol")
_KNOWN: Mapping[str, frozenset[str]] = {
    "scatter": _TRACE | _words("error_x error_y fill fillcolor line marker text textfont textposition"),
    "bar": _TRACE
    | _words("base error_x error_y insidetextanchor marker offsetgroup orientation text textfont textposition width"),
    "heatmap": _TRACE | _words("colorscale showscale xgap ygap z zmax zmin"),
    "line": _LINE,
    "marker": _MARKER | {"pattern"},
    "marker.line": frozenset({"color", "width"}),
    "marker.pattern": _words("bgcolor fgcolor fillmode shape size"),
    "error_x": _words("array arrayminus color symmetric thickness type visible width"),
    "error_y": _words("array arrayminus color symmetric thickness type visible width"),
    "textfont": frozenset({"size"}),
    "layout": _words(
        "annotations autosize bargap bargroupgap barmode dragmode height hoverlabel hovermode legend margin modebar "
        "paper_bgcolor plot_bgcolor shapes showlegend template uirevision width"
    ),
    "axis": _words(
        "anchor automargin autorange categoryarray categoryorder constrain domain dtick fixedrange gridcolor hoverformat "
        "layer matches nticks range rangemode showgrid showline showticklabels side tick0 tickformat tickmode tickprefix "
        "tickfont ticklabelstandoff ticksuffix ticktext tickvals ticks title type visible zeroline"
    ),
    "axis.title": frozenset({"standoff", "text"}),
    "legend": _words("bgcolor itemclick itemdoubleclick maxheight orientation traceorder x xanchor y yanchor"),
    "shape": _words("fillcolor layer line name opacity showlegend type x0 x1 xref y0 y1 yref"),
    "annotation": _words(
        "align opacity arrowcolor arrowhead arrowwidth ax ay font name showarrow text textangle visible x xanchor xref xshift y "
        "yanchor yref yshift"
    ),
}
_FILLS = frozenset({"none", "toself", "tonexty", "tozeroy"})


def left_out(layout: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What of a figure is not drawn, each once, such as `scatter.stackgroup`.

    Args:
        layout: of the figure.
        traces: those that are visible.
    """
    names: list[str] = []
    for trace in traces:
        kind = str(trace["type"])
        if kind not in {"scatter", "bar", "heatmap"}:
            names.append(f"traces of kind {kind}")
            continue
        names += _unknown(kind, trace)
        for part in ("line", "error_x", "error_y", "textfont"):
            names += _unknown(part, trace.get(part) or {}, kind)
        marker = trace.get("marker") or {}
        names += _unknown("marker", marker, kind)
        names += [
            name for part in ("line", "pattern") for name in _unknown(f"marker.{part}", marker.get(part) or {}, kind)
        ]
        names += _values(kind, trace, marker)
    return tuple(dict.fromkeys([*names, *_of_layout(layout)]))


def _of_layout(layout: Mapping[str, Any]) -> list[str]:
    axes = {key: value for key, value in layout.items() if key.startswith(("xaxis", "yaxis"))}
    names = _unknown("layout", {key: value for key, value in layout.items() if key not in axes})
    for axis in axes.values():
        names += [*_unknown("axis", axis), *_unknown("axis.title", axis.get("title") or {})]
        names += _unknown("textfont", axis.get("tickfont") or {}, "axis")
    names += _unknown("legend", layout.get("legend") or {})
    for shape in layout.get("shapes") or ():
        names += _unknown("shape", shape)
        names += [] if shape.get("type") in {"line", "rect"} else [f"shapes of kind {shape.get('type')}"]
    for annotation in layout.get("annotations") or ():
        names += [
            *_unknown("annotation", annotation),
            *_unknown("textfont", annotation.get("font") or {}, "annotation"),
        ]
    return names


def _values(kind: str, trace: Mapping[str, Any], marker: Mapping[str, Any]) -> list[str]:
    """The known words whose value is not."""
    line = trace.get("line") or {}
    symbols = {str(one).removesuffix("-open") for one in _each(marker.get("symbol", "circle"))}
    names = [f"{kind}.marker.symbol {one}" for one in sorted(symbols - SYMBOLS)]
    names += [f"{kind}.line.dash {line['dash']}"] if line.get("dash", "solid") not in DASHES else []
    names += [f"{kind}.line.shape {line['shape']}"] if line.get("shape", "linear") not in SHAPES else []
    names += [f"{kind}.fill {trace['fill']}"] if trace.get("fill", "none") not in _FILLS else []
    names += [f"{kind}.showscale"] if kind == "heatmap" and trace.get("showscale", True) else []
    names += [
        f"{kind}.{name}.type {trace[name]['type']}"
        for name in ("error_x", "error_y")
        if (trace.get(name) or {}).get("type", "data") != "data"
    ]
    return names + (
        [f"{kind}.marker.color as a number"]
        if not all(isinstance(c, str) for c in _each(marker.get("color", "")))
        else []
    )


def _each(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) or not hasattr(value, "__len__") else listed(value)


def _unknown(part: str, words: Iterable[str], within: str = "") -> list[str]:
    prefix = f"{within}.{part}" if within else part
    return [f"{prefix}.{word}" for word in words if word not in _KNOWN[part]]
