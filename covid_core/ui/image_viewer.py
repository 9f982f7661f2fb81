"""One image of the collection in the viewer, with the model's heat map or the lungs over it."""

from pathlib import Path

import streamlit as st

from covid_core.dataset.lung_masks import read_lung_mask
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import DatasetError, ImageRefusedError
from covid_core.files import sha256_of_file
from covid_core.images.decode import read_image_file, read_limited
from covid_core.images.display import fitted
from covid_core.images.types import GreyImage
from covid_core.inference.batch import Given, read_all
from covid_core.inference.bundle import Bundle
from covid_core.inference.prediction import Prediction
from covid_core.inference.predictor import Predictor
from covid_core.inference.wording import heat_sentences
from covid_core.ui.dataset import OpenCollection
from covid_core.ui.models import BY_CONTENT, predictor_of
from covid_core.ui.page import plain
from covid_core.ui.viewer import HEAT_MAP, lung_layer, model_layer, radiograph_viewer

_NOTHING, _LUNGS = "Nothing", "Lungs"

Served = Prediction | str
"""What the served model says of an image, or the sentence in which it refuses it."""


def image_of_collection(
    filename: str,
    collection: OpenCollection,
    bundle: Bundle | None,
    *,
    key: str,
    clearance: int,
    first: str = _NOTHING,
) -> None:
    """Show an image with the overlay that the reader chooses, or the reason why it cannot be shown.

    The model runs only for its heat map, and once for each content of a file.

    Args:
        filename: of the image, any text of a table.
        collection: that it is of, with images.
        bundle: the model whose heat map is offered; None where there is none, or the image is none that it could read.
        key: of the viewer, and of the choice of the overlay.
        clearance: as of `radiograph_viewer`.
        first: the overlay until the reader chooses; none where the image does not have it.
    """
    images = collection.images or Path()
    opened = _opened(filename, images)
    if isinstance(opened, str):
        st.info(plain(opened), icon=":material/image_not_supported:")
        return
    mask, caption = None, None
    try:
        mask = read_lung_mask(images.parent / "annotations", filename)
    except DatasetError:
        caption = "There may be a lung mask of this image, but the annotations cannot be read."
    if mask is not None:
        caption = f"Its lung mask was {'drawn by hand' if mask.drawn else 'estimated by a network, not drawn by hand'}."
    # The choice of the overlay is kept from image to image, where the next one has it.
    choices, over = [_NOTHING, *([HEAT_MAP] if bundle else []), *([_LUNGS] if mask else [])], _NOTHING
    if st.session_state.get(f"{key} over") not in choices:
        st.session_state[f"{key} over"] = first if first in choices else _NOTHING
    if len(choices) > 1:
        over = str(st.segmented_control("Overlay", choices, key=f"{key} over", required=True))
    layer, alt, heat_caption = None, "Chest X-ray", None
    if over == _LUNGS and mask is not None:
        layer, alt = lung_layer(mask.inside, (opened.shape[0], opened.shape[1])), f"{alt}, with the lungs marked"
    elif over == HEAT_MAP and bundle is not None:
        served = served_prediction(images / filename, bundle, own=collection.own)
        if isinstance(served, Prediction):
            layer = model_layer(served.heat, bundle.preparation.crop_box(opened.shape[1], opened.shape[0]))
            alt, heat_caption = f"{alt}, with the model's heat map over it", heat_sentences(served, bundle)
        elif served is not None:
            heat_caption = f"No heat map: the gate of the model refuses this image. {plain(served)}"
    radiograph_viewer(opened, layer, key=key, alt=alt, clearance=clearance, seek=True)
    if heat_caption is not None:
        st.caption(heat_caption)
    if caption is not None:
        st.caption(plain(caption))


def served_prediction(path: Path, bundle: Bundle, *, own: bool) -> Served | None:
    """What the model as it is served says of an image; None, with the reason shown in place, where it cannot be loaded.

    Args:
        path: of the image, which can be read.
        bundle: the model.
        own: whether nothing of the image may be kept for other visitors.
    """
    predictor = predictor_of(bundle)
    if predictor is None:
        return None
    return (_own_prediction if own else _shared_prediction)(bundle, sha256_of_file(path), path, predictor)


def _opened(filename: str, images: Path) -> GreyImage | str:
    """The image as large as a screen shows it, or why there is none."""
    try:
        path = safe_image_path(images, filename)
    except DatasetError:
        return "The file name of this image is not a plain name inside the folder of images, so it is not opened."
    if not path.is_file():
        return "The file of this image is not available."
    try:
        return fitted(read_image_file(path).image)
    except ImageRefusedError as error:
        return f"The file of this image cannot be shown. {error.refusal.message}"
    except MemoryError:
        return "The file of this image cannot be shown: it needs more memory than this computer has to spare."


# Resources, as they are shared without a copy: nobody changes a prediction.
@st.cache_resource(max_entries=200, show_spinner="Reading the image", hash_funcs=BY_CONTENT)
def _shared_prediction(bundle: Bundle, content: str, _path: Path, _predictor: Predictor) -> Served:  # noqa: ARG001
    return _prediction(_path, _predictor)


@st.cache_resource(max_entries=20, show_spinner="Reading the image", hash_funcs=BY_CONTENT, scope="session")
def _own_prediction(bundle: Bundle, content: str, _path: Path, _predictor: Predictor) -> Served:  # noqa: ARG001
    return _prediction(_path, _predictor)


def _prediction(path: Path, predictor: Predictor) -> Served:
    outcome = next(read_all(predictor, [Given(path.name, lambda: read_limited(path))])).outcome
    return outcome if isinstance(outcome, Prediction) else outcome.message
