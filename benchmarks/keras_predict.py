"""The plain Keras way to classify one film, for comparison: load the model, predict, print.

python benchmarks/keras_predict.py models/mobilenetv2-chest film.png
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np

from covid_core.images.decode import decode_file
from covid_core.images.preprocess import prepare
from covid_core.inference.bundle import load_bundle
from covid_core.training import layers  # noqa: F401 - registers what model.keras is made of

bundle = load_bundle(Path(sys.argv[1]))
model = keras.models.load_model(bundle.file("model.keras"))
film = prepare(decode_file(Path(sys.argv[2])), bundle.preparation)
given = model.predict(film[None, ..., None].astype(np.float32), verbose=0)
print(float((given[0] if isinstance(given, list) else given)[0, 0]))
