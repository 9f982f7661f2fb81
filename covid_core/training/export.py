"""A trained Keras model to what is served: LiteRT float32 with the evidence beside P(covid), and the head's weights."""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from covid_core.errors import TrainingError
from covid_core.training.backbones import HIDDEN_LAYER, OUTPUT_LAYER, POOLING_LAYER
from covid_core.training.layers import KernelMachine, LungWeighting

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


def predict_films(model: keras.Model, films: NDArray[np.uint8]) -> NDArray[np.float64]:
    """P(covid) of prepared films.

    Args:
        model: a classifier of `covid_core.training.backbones`.
        films: uint8 (n, size, size).

    Returns:
        float64 (n,) in [0, 1], as the model gives it, not calibrated.
    """
    batches = [
        np.asarray(model(films[start : start + BATCH_SIZE, ..., None].astype(np.float32), training=False))
        for start in range(0, len(films), BATCH_SIZE)
    ]
    return np.concatenate(batches)[:, 0].astype(np.float64)


def write_litert(model: keras.Model, path: Path) -> None:
    """Write the model as LiteRT float32 for one film at a time.

    Its outputs are P(covid) (1, 1), the feature map before pooling (1, h, w, c) and, of a model that has one, its lung map
    (1, h, w, 1). The converter does not keep their order: readers tell them apart by their shapes.
    """
    lung_maps = [layer.input[1] for layer in model.layers if isinstance(layer, LungWeighting)]
    serving = keras.Model(model.input, [model.output, model.get_layer(POOLING_LAYER).input, *lung_maps])
    signature = [keras.InputSpec(shape=(1, *model.input.shape[1:]), dtype="float32", name="grey")]
    serving.export(str(path), format="litert", input_signature=signature, verbose=False)


def head_weights(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """The weights behind the pooling, as `head.npz` keeps them.

    Returns:
        `hidden_kernel` (c, u), `hidden_bias` (u,), `output_kernel` (u, 1), `output_bias` (1,); or of a kernel machine its
        `support_vectors` (s, c), `coefficients` (s,), `intercept` (1,), `gamma` (1,), `mean` (c,), `scale` (c,).
    """
    output = model.get_layer(OUTPUT_LAYER)
    if isinstance(output, KernelMachine):
        return {weight.name: np.asarray(weight, np.float32) for weight in output.weights}
    hidden = model.get_layer(HIDDEN_LAYER)
    return {
        "hidden_kernel": np.asarray(hidden.kernel, np.float32),
        "hidden_bias": np.asarray(hidden.bias, np.float32),
        "output_kernel": np.asarray(output.kernel, np.float32),
        "output_bias": np.asarray(output.bias, np.float32),
    }
