"""A chest run and the materials of a build, small enough to train on within seconds."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from covid_core.dataset.lung_masks import DRAWN_NAME, ESTIMATED_NAME
from covid_core.dataset.prepare import prepare_dataset, read_split, split_image_path
from covid_core.images.preprocess import Preparation
from covid_core.training.chest_recipe import SERVED, ChestRecipe, LeftOut
from tests.fake_bundle import THREADS
from tests.made_up_collections import write_collections
from tests.phantom import phantom_film
from tests.training.tiny import tiny_chest_backbone

SIZE = 64
NETWORKS = (LeftOut(SERVED), LeftOut("without-S00-S01", ("S00", "S01"), "nih"))
RECIPE = ChestRecipe(
    weights="none",
    threads=THREADS,
    preparation=Preparation(size=SIZE, border_crop=0.0),
    copies=2,
    epochs=2,
    batch_size=16,
    warmup_steps=2,
    dropout=0.0,
    lung_epochs=2,
    members=4,
)
"""Without dropout, whose random numbers begin again where a stopped run goes on."""
COPY_OF_THE_DATASET, COPY_OF_AN_EXTERNAL_IMAGE = "tuberculosis-5.png", "figshare-5.png"


@contextmanager
def tiny_networks(networks: tuple[LeftOut, ...] = NETWORKS) -> Iterator[None]:
    """Two networks instead of five, or those given, with a small backbone: its layers have MobileNetV2's names and scales."""
    from covid_core.training import build, pretraining  # noqa: PLC0415
    from covid_core.training.backbones import BACKBONES  # noqa: PLC0415

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "mobilenetv2", tiny_chest_backbone())
        patch.setattr(pretraining, "NETWORKS", networks)
        patch.setattr(build, "NETWORKS", networks)
        yield


def write_inputs(folder: Path, phantom: Path) -> dict[str, Any]:
    """Write a prepared dataset, collections, lung masks and external folders.

    Of the phantom's sources none has both classes, so there are two others here, by patient. One image of the collections is a
    copy of one of the dataset, and one of an external one.
    """
    dataset = folder / "dataset"
    prepare_dataset(phantom, dataset)
    table = pd.read_csv(dataset / "split.csv", dtype="str")
    number = pd.to_numeric(table["patientid"], errors="coerce").fillna(0).astype(int)
    table["source"] = np.where(number // 2 % 2, "a.org", "b.org")
    table.to_csv(dataset / "split.csv", index=False)
    external = (
        write_labelled(folder / "far", ["covid"] * 4 + ["non_covid"] * 5 + [""] * 2, seed=2),
        write_labelled(folder / "farther", ["non_covid"] * 3, seed=3),
    )
    collections = write_collections(folder / "collections")
    ours = split_image_path(dataset, read_split(dataset).iloc[3])
    for source, target in (
        (ours, collections / "adults" / "images" / COPY_OF_THE_DATASET),
        (external[0] / "images" / "far-2.png", collections / "auxiliary" / "images" / COPY_OF_AN_EXTERNAL_IMAGE),
    ):
        with Image.open(source) as image:
            image.save(target)
    return {
        "dataset": dataset,
        "collections": collections,
        "external": external,
        "annotations": write_masks(folder / "annotations", table["filename"].tolist()),
    }


def lungs_of(index: int, size: int = 160) -> Image.Image:
    """A mask: two ellipses whose height differs from image to image."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    height = 0.25 + 0.02 * (index % 5)
    inside = [((columns - centre) / 0.14) ** 2 + ((rows + 0.05) / height) ** 2 < 1 for centre in (-0.2, 0.2)]
    return Image.fromarray(np.where(inside[0] | inside[1], 255, 0).astype(np.uint8))


def write_masks(folder: Path, filenames: list[str]) -> Path:
    """No mask of each third image, beginning with the first; drawn ones of the next, estimated ones of the others."""
    (folder / ESTIMATED_NAME).mkdir(parents=True)
    (folder / "drawn").mkdir()
    for index, name in enumerate(filenames):
        if index % 3 == 1:
            lungs_of(index).save(folder / "drawn" / f"{Path(name).stem}.png")
        elif index % 3 == 2:
            lungs_of(index).save(folder / ESTIMATED_NAME / f"{Path(name).stem}_mask.png")
    shutil.make_archive(str(folder / Path(DRAWN_NAME).stem), "zip", folder / "drawn")
    return folder


def write_labelled(folder: Path, labels: list[str], seed: int) -> Path:
    """A folder of labelled images; those without a label show something that is not stated."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = []
    for index, label in enumerate(labels):
        image = phantom_film(rng, label or "non_covid", 96)
        Image.fromarray(image).save(folder / "images" / f"{folder.name}-{index}.png")
        finding = {"covid": "COVID-19", "non_covid": "No Finding", "": ""}[label]
        rows.append((f"{folder.name}-{index}.png", finding, label, f"{folder.name}.org"))
    table = pd.DataFrame(rows, columns=["filename", "finding", "label", "source"])
    table.to_csv(folder / "labels.csv", index=False)
    return folder
