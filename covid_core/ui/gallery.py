"""The images of the collection side by side, 60 a page; a click or Enter opens one of them."""

import time
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.dataset.filters import NOT_GIVEN
from covid_core.dataset.image_cache import ImageCache
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import DatasetError
from covid_core.figures.theme import CLASS_COLOURS
from covid_core.labels import CLASS_TITLES
from covid_core.ui.dataset import OpenCollection, pictures_of, small_pictures
from covid_core.ui.dataset_table import choose_order, in_order, table_section
from covid_core.ui.open_image import open_named, opened_image
from covid_core.ui.page import data_address

PER_PAGE = 60

_KEY = "gallery"
_PAGE = "page"
_THESE = "images_of_gallery"
_ALL_MADE, _MAKING = "all_thumbnails_made", "thumbnails_being_made"
_AT_ONCE = 240  # small pictures that are held in memory while all are made
_PATIENCE = 0.3  # seconds without a progress bar
_BETWEEN_STEPS = 0.1  # seconds between two steps of it
_ASSETS = Path(__file__).with_name("gallery_assets")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


_component = st.components.v2.component(
    "image_gallery", html=_asset("gallery.html"), css=_asset("gallery.css"), js=_asset("gallery.js")
)


def gallery_section(collection: OpenCollection, kept: pd.DataFrame) -> None:
    """Show the images that meet the filters, page by page; a click opens one.

    Args:
        collection: the open one.
        kept: its rows, as `covid_core.dataset.filters.filtered` gives them; at least one.
    """
    images = collection.images
    if images is None or next(images.iterdir(), None) is None:
        st.caption("The images are not installed; this is their table.")
        table_section(collection, kept)
        return
    _back_to_first_page(collection, kept)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        rows = in_order(kept, choose_order(_first_page))
        said = st.container(width="content")
    above, below = st.container(), st.container()
    pages = -(-len(rows) // PER_PAGE)
    with below:
        page = st.pagination(pages, key=_PAGE, bind="query-params")
    start = (page - 1) * PER_PAGE
    seen = rows.iloc[start : start + PER_PAGE]
    said.caption(f"Images {start + 1:,} to {start + len(seen):,} of {len(rows):,}")
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
        _first_page()


def _first_page() -> None:
    st.session_state[_PAGE] = 1


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
    pictures = small_pictures(images, filenames, cache, _Bar(place, "Making thumbnails"))
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
            on_click=_note,
            args=(_MAKING, these),
        )
        return
    if opened_image() is not None:
        st.caption("Making thumbnails continues when the image is closed.")
        return
    place = st.empty()
    with place.container():
        st.button("Stop", key="stop_thumbnails", icon=":material/stop:", on_click=_note, args=(_MAKING, None))
        names = present["filename"].dropna().drop_duplicates().tolist()
        bar = _Bar(st.empty(), "Making all thumbnails", len(names))
        for bar.before in range(0, len(names), _AT_ONCE):
            small_pictures(images, names[bar.before : bar.before + _AT_ONCE], cache, bar)
    place.caption("The thumbnails of all these images are made.")
    _note(_MAKING, None)
    _note(_ALL_MADE, these)


def _note(key: str, value: object) -> None:
    st.session_state[key] = value


class _Bar:
    """A progress bar that is shown once the work takes a while.

    At each of its steps the run ends if the visitor has clicked something; what was made until then is kept.
    """

    def __init__(self, place: Any, title: str, total: int | None = None) -> None:
        """With `total` the work comes in batches, of which each tells how far it is by itself."""
        self.place, self.title, self.total = place, title, total
        self.before = 0  # done in the batches before
        self.moved = time.monotonic() + _PATIENCE - _BETWEEN_STEPS

    def __call__(self, done: int, of_batch: int) -> None:
        now = time.monotonic()
        if now - self.moved < _BETWEEN_STEPS:
            return
        self.moved = now
        done, total = done + self.before, self.total or of_batch
        self.place.progress(min(done / max(total, 1), 1.0), f"{self.title}: {done:,} of {total:,}")


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
