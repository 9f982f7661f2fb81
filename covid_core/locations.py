"""Where things are, unless the environment says otherwise.

COVID_MODELS_DIR    folder of the model bundles; default: models/ of this project
COVID_MODEL         name of the bundle that is used when none is named; default: `DEFAULT_MODEL`
COVID_DATASET_DIR   folder with metadata.csv and images/; default: data/covid-chestxray-dataset/ of this project,
                    else the one in the shared folder beside it
COVID_SHARED_DIR    that shared folder; default: ../shared
"""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DATASET_NAME = "covid-chestxray-dataset"
DEFAULT_MODEL = "mobilenetv2-lungs"
FETCHED_DATASET = PROJECT / "data" / DATASET_NAME


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
    """The folder of the installed dataset, None if there is none."""
    shared = Path(os.environ.get("COVID_SHARED_DIR") or PROJECT.parent / "shared")
    chosen = os.environ.get("COVID_DATASET_DIR")
    candidates = [Path(chosen)] if chosen else [FETCHED_DATASET, shared / "data" / DATASET_NAME]
    return next((folder for folder in candidates if (folder / "metadata.csv").is_file()), None)
