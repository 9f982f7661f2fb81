"""One image of the collection in the viewer, with the model's heat map or the lungs over it."""

from pathlib import Path

import streamlit as st

from covid_core.dataset.lung_masks import LungMask, read_lung_mask
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import DatasetError, ImageRefusedError
from covid_core.files import sha256_of_file
from covid_core.images.decode import read_film_file, read_limited
from covid_core.images.display import fitted
from covid_core.images.types import GreyImage
from covid_core.inference.batch import Given, read_all
from covid_core.inference.bundle import Bundle
from covid_core.inference.prediction import Prediction
from covid_core.inference.predictor import Predictor
from covid_core.inference.wording import heat_sentences
from covid_core.ui.models import manifest_hash, predictor_of
from covid_core.ui.page import plain
from covid_core.ui.viewer import film_viewer

NOTHING, HEAT, LUNGS = "Nothing", "Heat map", "Lungs"
"""What can lie over a film."""

Served = Prediction | str
"""What the served model says of a film, or why it refuses it, in a sentence."""


def film_of_collection(
    filename: str,
    images: Path,
    bundle: Bundle | None,
    *,
    key: str,
    clearance: int,
    own: bool = False,
    first: str = NOTHING,
) -> None:
    """Show an image with the overlay that the reader chooses, or the reason why it cannot be shown.

    The model runs only for its heat map, and once for each content of a file.

    Args:
        filename: of the film, any text of a table.
        images: the collection's folder of images; the lung masks are looked for in `annotations` beside it.
        bundle: the model whose heat map is offered; None where there is none, or the film is none that it could read.
        key: of the viewer, and of what is chosen to lie over the film.
        clearance: as of `film_viewer`.
        own: whether nothing of the film may be kept for other visitors.
        first: what lies over the film until the reader chooses; `NOTHING` where the film does not have it.
    """
    opened = _opened(filename, images)
    if isinstance(opened, str):
        st.info(plain(opened), icon=":material/image_not_supported:")
        return
    mask, trouble = _mask_of(filename, images)
    over = _over([NOTHING, *([HEAT] if bundle else []), *([LUNGS] if mask else [])], f"{key} over", first)
    if over == LUNGS and mask is not None:
        film_viewer(
            opened,
            None,
            None,
            key=key,
            alt="Chest X-ray, with the lungs marked",
            clearance=clearance,
            lungs=mask.inside,
            seek=True,
        )
    elif over == HEAT and bundle is not None:
        _with_heat(opened, images / filename, bundle, key=key, clearance=clearance, own=own)
    else:
        film_viewer(opened, None, None, key=key, alt="Chest X-ray", clearance=clearance, seek=True)
    if mask is not None:
        st.caption(
            f"Its lung mask was {'drawn by hand' if mask.drawn else 'estimated by a network, not drawn by hand'}."
        )
    elif trouble is not None:
        st.caption(plain(trouble))


def served_prediction(path: Path, bundle: Bundle, *, own: bool) -> Served | None:
    """What the model as it is served says of a film; None, with the reason shown in place, where it cannot be loaded.

    Args:
        path: of the film, which can be read.
        bundle: the model.
        own: whether nothing of the film may be kept for other visitors.
    """
    predictor = predictor_of(bundle)
    if predictor is None:
        return None
    known = str(bundle.folder), manifest_hash(bundle.folder), sha256_of_file(path)
    return _own_prediction(*known, path, predictor) if own else _shared_prediction(*known, path, predictor)


def _opened(filename: str, images: Path) -> GreyImage | str:
    """The film as large as a screen shows it, or why there is none."""
    try:
        path = safe_image_path(images, filename)
    except DatasetError:
        return "The file name of this image is not a plain name inside the folder of images, so it is not opened."
    if not path.is_file():
        return "The file of this image is not available."
    try:
        return fitted(read_film_file(path).image)
    except ImageRefusedError as error:
        return f"The file of this image cannot be shown. {error.refusal.message}"
    except MemoryError:
        return "The file of this image cannot be shown: it needs more memory than this computer has to spare."


def _mask_of(filename: str, images: Path) -> tuple[LungMask | None, str | None]:
    """The lung mask, and what is wrong with it."""
    try:
        return read_lung_mask(images.parent / "annotations", filename), None
    except DatasetError:
        return None, "There may be a lung mask of this image, but the annotations cannot be read."


def _over(choices: list[str], key: str, first: str) -> str:
    """The overlay. The choice is kept from image to image, where the next one has it."""
    if st.session_state.get(key) not in choices:
        st.session_state[key] = first if first in choices else NOTHING
    if len(choices) == 1:
        return NOTHING
    return str(st.segmented_control("Overlay", choices, key=key, required=True))


def _with_heat(image: GreyImage, path: Path, bundle: Bundle, *, key: str, clearance: int, own: bool) -> None:
    served = served_prediction(path, bundle, own=own)
    if not isinstance(served, Prediction):
        film_viewer(image, None, None, key=key, alt="Chest X-ray", clearance=clearance, seek=True)
        if served is not None:
            st.caption(f"No heat map: the gate of the model refuses this image. {plain(served)}")
        return
    box = bundle.preparation.crop_box(image.shape[1], image.shape[0])
    alt = "Chest X-ray, with the model's heat map over it"
    film_viewer(image, served.heat, box, key=key, alt=alt, clearance=clearance, seek=True)
    st.caption(heat_sentences(served, bundle))


# Keyed by model and content of the file. Resources, as they are shared without a copy: nobody changes a prediction.
@st.cache_resource(max_entries=200, show_spinner="Reading the image")
def _shared_prediction(model: str, version: str, content: str, _path: Path, _predictor: Predictor) -> Served:  # noqa: ARG001
    return _asked(_path, _predictor)


@st.cache_resource(max_entries=20, show_spinner="Reading the image", scope="session")
def _own_prediction(model: str, version: str, content: str, _path: Path, _predictor: Predictor) -> Served:  # noqa: ARG001
    return _asked(_path, _predictor)


def _asked(path: Path, predictor: Predictor) -> Served:
    film = Given(path.name, lambda: read_limited(path))
    outcome = next(read_all(predictor, [film])).outcome
    return outcome if isinstance(outcome, Prediction) else outcome.message
