"""Gives a bundle its gate and measures it, on what packages hold for pictures that are no chest X-ray.

Needs the development tools (requirements-dev.txt).

python -m covid_core prepare --dataset data/covid-chestxray-dataset --out dataset
python benchmarks/gate.py --model models/mobilenetv2-chest --dataset dataset --collection data/covid-chestxray-dataset \
    [--collections DIR] [--hospitals DIR...]

Photographs (and drawings, micrographs, a sky) are those of scikit-image and scikit-learn, other DICOM objects those of pydicom
and pydicom-data (CT, MR, ultrasound, nuclear medicine, a leg), documents are drawn here; CT slices and lateral films are those of
the collection. A folder of `--hospitals` with a `labels.csv` counts by source, hospital group and finding. Rewrites the bundle's
`gate.npz`, `evaluation.json`, `MODEL_CARD.md` and `bundle.json`, and prints the figures as tables.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import skimage
import sklearn
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.pixels import apply_modality_lut, apply_voi_lut

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from covid_core.images.types import MIN_SIDE, GreyImage  # noqa: E402
from covid_core.training.gate_figures import Picture, pictures_by_kind, write_gate  # noqa: E402

PAGES = 30
_DOCUMENTS = ("page.png", "text.png")  # of scikit-image
_CHEST_FILMS = ("RG1_",)  # of pydicom-data, a PA film: no negative
_WORDS = [
    "film",
    "chest",
    "patient",
    "report",
    "lung",
    "right",
    "left",
    "heart",
    "normal",
    "size",
    "no",
    "effusion",
    "of",
    "and",
]


def negatives() -> dict[str, Sequence[Picture]]:
    """What is no chest X-ray: the name of a kind -> its pictures."""
    ours = Path(str(skimage.__file__)).parent / "data"
    theirs = Path(str(sklearn.__file__)).parent / "datasets" / "images"
    packaged = sorted([*ours.glob("*.png"), *ours.glob("*.jpg"), *theirs.glob("*.jpg")])
    return {
        "photograph": [path for path in packaged if path.name not in _DOCUMENTS],
        "document": [*(ours / name for name in _DOCUMENTS), *pages()],
        "other DICOM": list(other_dicoms()),
    }


def pages() -> Iterator[GreyImage]:
    """Pages of text as a scanner or a screenshot would give them: dark on light or light on dark, some with a frame."""
    rng = np.random.default_rng(1)
    for number in range(PAGES):
        size = (850, 1100) if number % 3 else (1100, 850)
        dark = number % 5 == 0
        page = Image.new("L", size, 20 if dark else 250)
        draw, ink = ImageDraw.Draw(page), 240 if dark else int(rng.integers(0, 90))
        points = int(rng.integers(12, 34))
        font = ImageFont.load_default(points)
        if number % 4 == 0:
            draw.rectangle([40, 40, size[0] - 40, 140], outline=ink, width=3)
        for top in range(170, int(rng.integers(400, size[1] - 60)), int(points * 1.35)):
            line = " ".join(rng.choice(_WORDS, int(rng.integers(1, 1100 // points))))
            while draw.textlength(line, font=font) > size[0] - 100:
                line = line.rsplit(" ", 1)[0]
            draw.text((50, top), line, fill=ink, font=font)
        yield np.asarray(page, np.float32) / 255


def other_dicoms() -> Iterator[GreyImage]:
    """The pictures in the packages' DICOM files that are large enough, each once; what is no chest film is all that they are."""
    seen: set[bytes] = set()
    data = find_spec("data_store")
    folders = [Path(str(pydicom.__file__)).parent / "data" / "test_files"]
    folders += [Path(folder) / "data" for folder in (data.submodule_search_locations if data else None) or []]
    for path in sorted(path for folder in folders for path in folder.glob("*.dcm")):
        picture = None if path.name.startswith(_CHEST_FILMS) else _pixels(path)
        if picture is None:
            continue
        small = Image.fromarray(np.rint(255 * picture).astype(np.uint8)).resize((32, 32)).tobytes()
        if small not in seen:  # many files hold the same picture in another encoding
            seen.add(small)
            yield picture


def _pixels(path: Path) -> GreyImage | None:
    """The middle frame of a DICOM file in grey; None where it has none that can be read and is large enough.

    Read by pydicom itself: the app refuses most of these files for what they say they are, here the gate alone is measured.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = pydicom.dcmread(path)
            pixels: NDArray[Any] = file.pixel_array
            if int(file.get("NumberOfFrames") or 1) > 1:
                pixels = pixels[len(pixels) // 2]
            colours = int(file.get("SamplesPerPixel", 1)) > 1
            grey = pixels[..., :3].mean(axis=-1) if colours else apply_voi_lut(apply_modality_lut(pixels, file), file)
    except (OSError, ValueError, RuntimeError, AttributeError, NotImplementedError, pydicom.errors.InvalidDicomError):
        return None
    lowest, highest = float(grey.min()), float(grey.max())
    if min(grey.shape) < MIN_SIDE or lowest == highest:
        return None
    scaled = ((grey - lowest) / (highest - lowest)).astype(np.float32)
    return 1 - scaled if file.PhotometricInterpretation == "MONOCHROME1" else scaled


def main() -> None:
    """Parse, fit, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--dataset", type=Path, default=Path("dataset"), help="the dataset it was trained on")
    parser.add_argument("--collection", type=Path, help="folder with metadata.csv and images/")
    parser.add_argument(
        "--collections", type=Path, help="folder of collections: adults of other hospitals, and children"
    )
    parser.add_argument("--hospitals", type=Path, nargs="+", default=[], help="folders of upright frontal chest films")
    options = parser.parse_args()
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:4.0f} s] {line}", file=sys.stderr, flush=True)

    block = write_gate(
        options.model,
        options.dataset,
        options.collection,
        negatives=negatives(),
        hospitals={name: paths for folder in options.hospitals for name, paths in pictures_by_kind(folder).items()},
        elsewhere=options.collections,
        say=say,
    )
    print(f"limits: distance {block['limit']:.3f}, P(upright) {block['upright_limit']:.3f}\n")
    print("| kind | n | AUROC | FPR95 | refused | right repair | reasons |\n|---|---|---|---|---|---|---|")
    for row in block["kinds"]:
        repair = f"{row['repair_offered']}" if row["right_repair"] is None else f"{row['right_repair']}/{row['n']}"
        print(
            f"| {row['kind']} | {row['n']} | {row['roc_auc']:.4f} | {row['fpr95']:.1%} | {_share(row['refused'])} | {repair} | "
            f"{row['reasons']} |"
        )
    titles = ("films", "n", "copies left out", "refused", "warned of a child", "called, nothing said", "reasons")
    print(f"\n| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for row in [*block["hospitals"], *block["sources"]]:
        print(
            f"| {row['name']} | {row['n']} | {row['copies_left_out']} | {_share(row['refused'])} | "
            f"{_share(row['warned'])} | {_share(row['called_silently'])} | {row['reasons']} |"
        )
    print(f"\n{(options.model / 'gate.npz').stat().st_size / 1e6:.2f} MB, {time.monotonic() - started:.0f} s")


def _share(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "none"
    return f"{estimate['value']:.1%} ({estimate['lower']:.1%} to {estimate['upper']:.1%})"


if __name__ == "__main__":
    main()
