"""The images of the collection side by side, 60 a page; a click or Enter opens one of them."""

import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.dataset.duplicates import Progress
from covid_core.dataset.filters import NOT_GIVEN
from covid_core.dataset.image_cache import ImageCache
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import DatasetError
from covid_core.figures.theme import CLASS_COLOURS
from covid_core.labels import CLASS_TITLES
from covid_core.ui.dataset import OpenCollection, open_named, opened_image, pictures_of, small_pictures
from covid_core.ui.dataset_table import choose_order, in_order, table_section
from covid_core.ui.page import data_address, progress_bar, set_state

PER_PAGE = 60

_KEY = "gallery"
_PAGE = "page"
_THESE = "images_of_gallery"
_ALL_MADE, _MAKING = "all_thumbnails_made", "thumbnails_being_made"
_AT_ONCE = 240  # thumbnails that are held in memory while all are made
_PATIENCE = 0.3  # seconds without a progress bar
_ASSETS = Path(__file__).with_name("gallery_assets")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


_component = st.components.v2.component(
    "image_gallery", html=_asset("gallery.html"), css=_asset("gallery.css"), js=_asset("gallery.js")
)


def gallery_section(collection: OpenCollection, kept: pd.DataFrame) -> None:
    """Show the images of a collection that meet the filters, at least one, page by page; a click opens one."""
    images = collection.images
    if images is None or next(images.iterdir(), None) is None:
        st.caption("The images are not installed; this is their table.")
        table_section(collection, kept)
        return
    _back_to_first_page(collection, kept)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        rows = in_order(kept, choose_order(partial(set_state, _PAGE, 1)))
        which = st.container(width="content")
    above = st.container()
    pages = -(-len(rows) // PER_PAGE)
    start = (st.pagination(pages, key=_PAGE, bind="query-params") - 1) * PER_PAGE
    seen = rows.iloc[start : start + PER_PAGE]
    which.caption(f"Images {start + 1:,} to {start + len(seen):,} of {len(rows):,}")
    cache = pictures_of(collection)
    with above:
        tiles = _tiles(images, seen, cache)
        _component(
            key=_KEY,
            data={"key": _KEY, "start": start, "tiles": tiles},
            on_open_change=partial(_open, frozenset(tile["file"] for tile in tiles)),
        )
    if pages > 1:
        _make_all(images, rows, cache, collection.content)


def _back_to_first_page(collection: OpenCollection, kept: pd.DataFrame) -> None:
    """Go to the first page where other images meet the filters than before."""
    these = (collection.content, zlib.crc32(kept.index.to_numpy().tobytes()))
    if st.session_state.setdefault(_THESE, these) != these:
        st.session_state[_THESE] = these
        set_state(_PAGE, 1)


def _open(shown: frozenset[str]) -> None:
    """Open the image that was clicked; the browser may name only those that were shown."""
    wanted = st.session_state[_KEY].open
    if isinstance(wanted, str) and wanted in shown:
        open_named(wanted)


def _tiles(images: Path, rows: pd.DataFrame, cache: ImageCache) -> list[dict[str, Any]]:
    """What the component takes of each image.

    Returns:
        file: its name, which the component gives back.
        picture: an address that holds a JPEG; None for a grey tile.
        blank: what a grey tile says; None with a picture.
        colour, label: of its class; colour is None without one.
        facts: view and day, as far as they are given.
    """
    filenames = rows["filename"].fillna("").tolist()
    place = st.empty()
    pictures = small_pictures(images, filenames, cache, progress_bar(place, "Making thumbnails", _PATIENCE))
    place.empty()
    return [
        {
            "file": filename,
            "picture": None if picture is None else data_address(picture),
            "blank": None if picture is not None else _why_blank(images, filename),
            "colour": CLASS_COLOURS.get(label),
            "label": CLASS_TITLES.get(label, "No class"),
            "facts": _facts(view, day),
        }
        for filename, picture, label, view, day in zip(
            filenames, pictures, rows["label"], rows["view"], rows["offset"], strict=True
        )
    ]


def _make_all(images: Path, rows: pd.DataFrame, cache: ImageCache, content: str) -> None:
    """Offer to make the thumbnails of all pages at once."""
    present = rows[rows["has_file"]] if "has_file" in rows else rows
    shown = zlib.crc32(np.sort(present.index.to_numpy()).tobytes())
    these = (content, shown, str(images), images.stat().st_mtime_ns)
    if st.session_state.get(_ALL_MADE) == these:
        st.caption("The thumbnails of all these images are made.")
        return
    if st.session_state.get(_MAKING) != these:
        st.button(
            f"Make all thumbnails now ({len(present):,} images)",
            type="tertiary",
            icon=":material/photo_library:",
            help="Otherwise those of a page are made when it is first opened.",
            on_click=set_state,
            args=(_MAKING, these),
        )
        return
    if opened_image() is not None:
        st.caption("Making thumbnails continues when the image is closed.")
        return
    place = st.empty()
    with place.container():
        st.button("Stop", key="stop_thumbnails", icon=":material/stop:", on_click=set_state, args=(_MAKING, None))
        names = present["filename"].dropna().drop_duplicates().tolist()
        bar = progress_bar(st.empty(), "Making all thumbnails", _PATIENCE)
        for first in range(0, len(names), _AT_ONCE):
            so_far = partial(_so_far, bar, first, len(names))
            small_pictures(images, names[first : first + _AT_ONCE], cache, so_far)
    place.caption("The thumbnails of all these images are made.")
    set_state(_MAKING, None)
    set_state(_ALL_MADE, these)


def _so_far(bar: Progress, before: int, total: int, done: int, _of_batch: int) -> None:
    bar(before + done, total)


def _why_blank(images: Path, filename: str) -> str:
    if not filename:
        return "No file named"
    try:
        return "Cannot be read" if safe_image_path(images, filename).is_file() else "No file"
    except DatasetError:
        return "File name not allowed"


def _facts(view: str, day: float) -> str:
    given = [] if view == NOT_GIVEN else [view[:40]]
    return ", ".join([*given, *([] if np.isnan(day) else [f"day {day:.0f}"])])
