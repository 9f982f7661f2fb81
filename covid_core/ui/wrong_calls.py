"""The images that a model calls wrongly, as a gallery: filtered by kind and subgroup, each opened with the model's heat map.

Without the installed dataset there is a table with links to the public collection instead. The heat map is made when a case is
opened, by the model as it is served.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from covid_core.dataset.image_record import describe
from covid_core.evaluation.mistakes import KINDS, chosen, groups_of, mistakes
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.inference.bundle import Bundle
from covid_core.labels import CLASS_TITLES
from covid_core.report.record import Record
from covid_core.report.robustness import error_table, public_address
from covid_core.ui.dataset import OpenCollection, picture_store, small_pictures
from covid_core.ui.dataset_source import installed_collection
from covid_core.ui.image_viewer import image_of_collection
from covid_core.ui.page import plain, set_state
from covid_core.ui.viewer import HEAT_MAP

PER_PAGE = 12
_CASE, _PAGE = "case", "errors_page"
_ALL = "all"
_CLEARANCE = 420  # pixels of the window's height that the image in a case leaves to what stands around it


def gallery_of_errors(record: Record, bundle: Bundle) -> None:
    """Show the wrongly called images, the most confident first, and open the one that is chosen."""
    wrong = mistakes(record.predictions, part=record.evaluation["part"], threshold=record.evaluation["threshold"])
    if wrong.empty:
        return
    st.subheader("Wrong calls", anchor=False)
    st.caption(f"Errors at the operating point of the model, {record.evaluation['threshold']:.3f}.")
    shown = _filtered(wrong)
    if shown.empty:
        st.info("No error meets these filters.", icon=":material/filter_alt_off:")
        return
    collection = installed_collection()
    if collection is None or collection.images is None:
        collection = None
        _table(shown)
    else:
        _pictures(shown, collection.images)
    names = wrong["filename"].tolist()
    case = st.selectbox(
        "Open an image by its file name",
        names,
        index=None,
        placeholder="Any of the errors",
        key=_CASE,
        bind="query-params",
    )
    if case is not None:
        _case(wrong.iloc[names.index(case)].to_dict(), collection, record, bundle)


def _filtered(wrong: pd.DataFrame) -> pd.DataFrame:
    groups, name = groups_of(wrong), None

    def choice(title: str, options: Sequence[str], key: str) -> str:
        return str(st.selectbox(title, options, key=key, bind="query-params", on_change=set_state, args=(_PAGE, 1)))

    with st.container(horizontal=True):
        kind = choice("Error", [_ALL, *KINDS], "errors")
        group = choice("Subgroups by", [_ALL, *groups], "by")
        if group in groups:
            name = choice(group, groups[group], "group")
    kept = chosen(wrong, None if kind == _ALL else kind, group if name is not None else None, name)
    st.caption(f"{len(kept)} of {len(wrong)} errors, the most confident first.")
    return kept


def _table(shown: pd.DataFrame) -> None:
    st.caption("The dataset is not installed, so its images are not shown; the links lead to the public collection.")
    rows = error_table(shown)
    rows.insert(1, "Image", shown["filename"].map(public_address))
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="",
        column_config={"Image": st.column_config.LinkColumn(display_text="open")},
        alt="The images that are called wrongly",
    )


def _pictures(shown: pd.DataFrame, images: Path) -> None:
    above = st.container()
    number = st.pagination(-(-len(shown) // PER_PAGE), key=_PAGE, bind="query-params") if len(shown) > PER_PAGE else 1
    page = shown.iloc[(number - 1) * PER_PAGE : number * PER_PAGE]
    pictures = small_pictures(images, page["filename"].tolist(), picture_store())
    with above, st.grid(4, min_column_width=150) as grid:
        for row, picture in zip(page.to_dict("records"), pictures, strict=True):
            with grid.cell():
                if picture is not None:
                    st.image(picture, width="stretch", alt=f"Chest X-ray, {row['kind']}")
                st.markdown(f"**{plain(str(row['kind']))}**, P(COVID-19) {row['probability_covid']:.2f}")
                st.text(describe(row), width="stretch")
                st.button(
                    "Open",
                    icon=":material/open_in_full:",
                    key=f"open {row['filename']}",
                    on_click=set_state,
                    args=(_CASE, str(row["filename"])),
                )


@st.dialog("Wrong call", width="large", on_dismiss=partial(set_state, _CASE, None))
def _case(row: Mapping[Any, Any], collection: OpenCollection | None, record: Record, bundle: Bundle) -> None:
    filename, kind = str(row["filename"]), str(row["kind"])
    st.markdown(
        f"**{plain(kind[:1].upper() + kind[1:])}**: by the reference standard {CLASS_TITLES[row['label']]}, "
        f"P(COVID-19) {row['probability_covid']:.2f}; called COVID-19 from {record.evaluation['threshold']:.2f}."
    )
    st.text(f"{filename}\n{describe(row)}")
    if collection is None:
        st.info("The dataset is not installed, so its images are not shown.", icon=":material/info:")
    else:
        image_of_collection(filename, collection, bundle, key="case image", clearance=_CLEARANCE, first=HEAT_MAP)
    if collection is not None and record.evaluation["part"] == OUT_OF_FOLD:
        st.caption(
            "The probability is from a model of the cross-validation that was not trained on this patient. The heat map is "
            "from the served model, which was also trained on this image, so it may highlight other places."
        )
    with st.container(horizontal=True):
        st.link_button("In the public collection", public_address(filename), icon=":material/open_in_new:")
        url = row.get("url")
        if isinstance(url, str):
            st.link_button("Its source", url, icon=":material/open_in_new:")
