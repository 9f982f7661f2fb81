"""The films that a model calls wrongly, as a gallery: filtered by kind and subgroup, each opened with the model's heat map.

Pictures are shown where the dataset is installed; elsewhere stands a table with links to the public collection. The heat map
is made when a case is opened, by the model as it is served.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from covid_core.data.film_record import describe
from covid_core.evaluation.mistakes import KINDS, chosen, groups_of, mistakes
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.inference.bundle import Bundle
from covid_core.labels import CLASS_TITLES
from covid_core.model_report.record import Record
from covid_core.model_report.trust import error_table, public_address
from covid_core.ui.collection import picture_store, small_pictures
from covid_core.ui.collection_film import HEAT, film_of_collection
from covid_core.ui.collection_source import installed_collection
from covid_core.ui.frame import plain

PAGE = 12
_CASE, _KIND, _GROUP, _NAME, _FROM = "case", "errors", "by", "group", "errors_from"
_ALL = "all"
_CLEARANCE = 420  # pixels of the window's height that the film in a case leaves to what stands around it


def gallery_of_errors(record: Record, bundle: Bundle) -> None:
    """Show the wrongly called films, the most confident first, and open the one that is asked for.

    Args:
        record: of the model.
        bundle: the same model, as it is served.
    """
    wrong = mistakes(record.predictions, part=record.evaluation["part"], threshold=record.evaluation["threshold"])
    if wrong.empty:
        return
    st.subheader("Look at them", anchor=False)
    st.caption(f"Errors at the model's own operating point, {record.evaluation['threshold']:.3f}.")
    shown = _filtered(wrong)
    if shown.empty:
        st.info("No error meets these filters.", icon=":material/filter_alt_off:")
        return
    collection = installed_collection()
    images = None if collection is None else collection.images
    if images is None:
        _table(shown)
    else:
        _pictures(shown, images)
    asked = st.selectbox(
        "Open a film by its name",
        wrong["filename"].tolist(),
        index=None,
        placeholder="Any of the errors",
        key=_CASE,
        bind="query-params",
    )
    if asked is not None:
        _case(wrong[wrong["filename"] == asked].iloc[0].to_dict(), images, record, bundle)


def _filtered(wrong: pd.DataFrame) -> pd.DataFrame:
    groups = groups_of(wrong)
    with st.container(horizontal=True):
        kind = st.selectbox("Error", [_ALL, *KINDS], key=_KIND, bind="query-params", on_change=_first_page)
        group = st.selectbox("Subgroups by", [_ALL, *groups], key=_GROUP, bind="query-params", on_change=_first_page)
        name = None
        if group in groups:
            name = st.selectbox(group, groups[group], key=_NAME, bind="query-params", on_change=_first_page)
    kept = chosen(wrong, None if kind == _ALL else kind, group if name is not None else None, name)
    st.caption(f"{len(kept)} of {len(wrong)} errors, the most confident first.")
    return kept


def _table(shown: pd.DataFrame) -> None:
    st.caption(
        "The dataset is not installed here, so its films are not shown; the links lead to the public collection."
    )
    rows = error_table(shown)
    rows.insert(1, "Film", shown["filename"].map(public_address))
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="",
        column_config={"Film": st.column_config.LinkColumn(display_text="open")},
        alt="The films that are called wrongly",
    )


def _pictures(shown: pd.DataFrame, images: Path) -> None:
    start = min(st.session_state.get(_FROM, 0), (len(shown) - 1) // PAGE * PAGE)
    page = shown.iloc[start : start + PAGE]
    pictures = small_pictures(images, page["filename"].tolist(), picture_store())
    with st.grid(4, min_column_width=150) as grid:
        for row, picture in zip(page.to_dict("records"), pictures, strict=True):
            with grid.cell():
                if picture is not None:
                    st.image(picture, width="stretch", alt=f"A film, {row['kind']}")
                st.markdown(f"**{plain(str(row['kind']))}**, P(COVID-19) {row['probability_covid']:.2f}")
                st.text(describe(row), width="stretch")
                st.button(
                    "Open",
                    icon=":material/open_in_full:",
                    key=f"open {row['filename']}",
                    on_click=_open,
                    args=(str(row["filename"]),),
                )
    if len(shown) > PAGE:
        with st.container(horizontal=True, vertical_alignment="center"):
            last = start + PAGE >= len(shown)
            st.button("Back", icon=":material/chevron_left:", disabled=start == 0, on_click=_turn, args=(start - PAGE,))
            st.caption(f"{start + 1} to {start + len(page)} of {len(shown)}")
            st.button("On", icon=":material/chevron_right:", disabled=last, on_click=_turn, args=(start + PAGE,))


def _closed() -> None:
    st.session_state[_CASE] = None


@st.dialog("A film that is called wrongly", width="large", on_dismiss=_closed)
def _case(row: Mapping[Any, Any], images: Path | None, record: Record, bundle: Bundle) -> None:
    filename, kind = str(row["filename"]), str(row["kind"])
    st.markdown(
        f"**{plain(kind[:1].upper() + kind[1:])}**: by the reference standard {CLASS_TITLES[row['label']]}, "
        f"P(COVID-19) {row['probability_covid']:.2f} where the model calls from {record.evaluation['threshold']:.2f} on."
    )
    st.text(f"{filename}\n{describe(row)}")
    if images is None:
        st.info("The dataset is not installed here, so its films are not shown.", icon=":material/info:")
    else:
        film_of_collection(filename, images, bundle, key="case film", clearance=_CLEARANCE, first=HEAT)
    if images is not None and record.evaluation["part"] == OUT_OF_FOLD:
        st.caption(
            "The probability is that of a model of the cross-validation which had not seen this patient. The heat map is that of "
            "the model as it is served, which was fitted on this film as well, so that it may look elsewhere."
        )
    with st.container(horizontal=True):
        st.link_button("In the public collection", public_address(filename), icon=":material/open_in_new:")
        url = row.get("url")
        if isinstance(url, str):
            st.link_button("Its source", url, icon=":material/open_in_new:")


def _open(filename: str) -> None:
    st.session_state[_CASE] = filename


def _turn(start: int) -> None:
    st.session_state[_FROM] = start


def _first_page() -> None:
    st.session_state[_FROM] = 0
