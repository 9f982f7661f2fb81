"""A trained Keras model to what is served: LiteRT float32 with the evidence beside P(covid), and the head's weights."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from covid_core.errors import TrainingError
from covid_core.training.backbones import HIDDEN_LAYER, OUTPUT_LAYER, POOLING_LAYER
from covid_core.training.chest_heads import QUESTIONS_LAYER

BATCH_SIZE = 32


def load_trained(path: Path) -> keras.Model:
    """Load a saved model for inference only, without its optimizer.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, OSError) as cause:
        raise TrainingError(f"{path} cannot be loaded: {cause}.") from cause


def predict_images(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """P(covid) of prepared images, uint8 (n, size, size) to float64 (n,) in [0, 1], not calibrated.

    The model is a classifier of `covid_core.training.backbones` or a reader of `covid_core.training.chest_heads`.
    """
    run = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)
    batches = []
    for start in range(0, len(images), BATCH_SIZE):
        given = run(tf.constant(images[start : start + BATCH_SIZE, ..., None].astype(np.float32)))
        batches.append(np.asarray(given[0] if isinstance(given, (list, tuple)) else given)[:, 0])
    return np.concatenate(batches).astype(np.float64)


def write_litert(model: keras.Model, path: Path) -> None:
    """Write the model as LiteRT float32 for one image at a time.

    A classifier's outputs are P(covid) (1, 1) and the feature map before pooling (1, h, w, c); a chest reader's are its own. The
    converter does not keep their order: `covid_core.inference.network` tells them apart by their shapes.
    """
    if len(model.outputs) == 1:
        model = keras.Model(model.input, [model.output, model.get_layer(POOLING_LAYER).input])
    signature = [keras.InputSpec(shape=(1, *model.input.shape[1:]), dtype="float32", name="grey")]
    model.export(str(path), format="litert", input_signature=signature, verbose=False)


def head_weights(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """The weights behind the pooling, as `head.npz` keeps them: the attributes of a `covid_core.inference.explanation.Head`."""
    if len(model.outputs) > 1:
        questions = model.get_layer(QUESTIONS_LAYER)
        kernel, bias = (np.asarray(weight, np.float32) for weight in (questions.kernel, questions.bias))
        return {"kernel": kernel[:, :2], "bias": bias[:2]}
    hidden, output = model.get_layer(HIDDEN_LAYER), model.get_layer(OUTPUT_LAYER)
    return {
        "hidden_kernel": np.asarray(hidden.kernel, np.float32),
        "hidden_bias": np.asarray(hidden.bias, np.float32),
        "output_kernel": np.asarray(output.kernel, np.float32),
        "output_bias": np.asarray(output.bias, np.float32),
    }
