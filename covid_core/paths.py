"""Where things are, unless the environment says otherwise.

COVID_MODELS_DIR    folder of the model bundles; default: models/ of this project
COVID_MODEL         name of the bundle that is used when none is named; default: `DEFAULT_MODEL`
COVID_DATASET_DIR   folder with metadata.csv and images/; default: data/covid-chestxray-dataset/ of this project,
                    else the one in the shared folder beside it
COVID_SHARED_DIR    that shared folder; default: ../shared
COVID_DATASET_URL   where `fetch` finds metadata.csv and images/; default: `PUBLIC_DATASET`
COVID_DATASET_LISTING
                    where `fetch` finds the sizes and checksums of these files, or `none`; default: `PUBLIC_LISTING` for the
                    default address, none for another
COVID_CACHE_DIR     folder for what can be made again, such as thumbnails; default: covid-core/ in the user's cache folder
COVID_OWN_COMPUTER  1 where whoever sees the pages owns the machine: they may then name folders of it; default: not
"""

import os
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DATASET_NAME = "covid-chestxray-dataset"
METADATA_NAME, IMAGES_NAME = "metadata.csv", "images"
"""What a folder of the collection holds: its table, and the folder of its images, called so in the column `folder` too."""
DEFAULT_MODEL = "mobilenetv2-chest"
FETCHED_DATASET = PROJECT / "data" / DATASET_NAME
PUBLIC_DATASET = "https://raw.githubusercontent.com/ieee8023/covid-chestxray-dataset/master/"
PUBLIC_LISTING = "https://api.github.com/repos/ieee8023/covid-chestxray-dataset/git/trees/master?recursive=1"
NO_LISTING = "none"


def models_dir() -> Path:
    """The folder of the model bundles."""
    return Path(os.environ.get("COVID_MODELS_DIR") or PROJECT / "models")


def default_model() -> str:
    """The name of the bundle that is used when none is named."""
    return os.environ.get("COVID_MODEL") or DEFAULT_MODEL


def model_names() -> list[str]:
    """The names of all bundles, the default one first, then by alphabet."""
    names = sorted(path.parent.name for path in models_dir().glob("*/bundle.json"))
    return sorted(names, key=lambda name: name != default_model())


def dataset_dir() -> Path | None:
    """The folder of the installed dataset, None if there is none. One with images goes before one that has the table alone."""
    shared = Path(os.environ.get("COVID_SHARED_DIR") or PROJECT.parent / "shared")
    chosen = os.environ.get("COVID_DATASET_DIR")
    candidates = [Path(chosen)] if chosen else [FETCHED_DATASET, shared / "data" / DATASET_NAME]
    installed = [folder for folder in candidates if (folder / METADATA_NAME).is_file()]
    return next(
        (folder for folder in installed if (folder / IMAGES_NAME).is_dir()), installed[0] if installed else None
    )


def fetched_dir() -> Path:
    """The folder that a page fetches the dataset to, where `dataset_dir` looks for it."""
    return Path(os.environ.get("COVID_DATASET_DIR") or FETCHED_DATASET)


def dataset_url() -> str:
    """The address that the dataset is fetched from."""
    return os.environ.get("COVID_DATASET_URL") or PUBLIC_DATASET


def dataset_listing(url: str, chosen: str | None = None) -> str | None:
    """The address of the sizes and checksums of the dataset's files, None where there are none to compare with.

    Args:
        url: where the files come from; the default listing speaks of the public ones only.
        chosen: goes before the environment.
    """
    default = PUBLIC_LISTING if url.rstrip("/") == PUBLIC_DATASET.rstrip("/") else NO_LISTING
    listing = chosen or os.environ.get("COVID_DATASET_LISTING") or default
    return None if listing.lower() == NO_LISTING else listing


def own_computer() -> bool:
    """Whether whoever sees the pages owns the machine they run on."""
    return os.environ.get("COVID_OWN_COMPUTER") == "1"


def cache_dir() -> Path:
    """The folder for what can be made again; it need not be there."""
    return Path(os.environ.get("COVID_CACHE_DIR") or _user_cache() / "covid-core")


def _user_cache() -> Path:
    """The cache folder of the user, as the platform has it; on Linux by the XDG Base Directory Specification 0.8."""
    try:
        home = Path.home()
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir())
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    chosen = Path(os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", ""))
    if chosen.is_absolute():
        return chosen
    return home / ("AppData/Local" if sys.platform == "win32" else ".cache")
