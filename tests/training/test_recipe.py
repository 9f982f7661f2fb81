import hashlib
import json

import pytest

from covid_core.errors import TrainingError
from covid_core.images.preprocess import Preparation
from covid_core.training.recipe import Augmentation, Recipe, StageSettings, named_weights


def test_a_recipe_survives_the_way_through_json():
    recipe = Recipe(
        backbone="resnet50",
        weights="file.h5",
        weights_sha256="a" * 64,
        seed=7,
        preparation=Preparation(size=96, border_crop=0.1),
        augmentation=Augmentation(rotation=0.01, flip=False),
        initial=StageSettings(max_epochs=3, learning_rate=1e-3),
        finetune=StageSettings(max_epochs=4, learning_rate=1e-6, stop_patience=1),
    )
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("initial"),
        lambda values: values.update(surprise=1),
        lambda values: values["preparation"].update(size=5),
        lambda values: values["augmentation"].update(blur=1),
        lambda values: values.update(preparation=None),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused(change):
    values = Recipe().to_json()
    change(values)
    with pytest.raises(TrainingError, match="cannot be read"):
        Recipe.from_json(values)


def test_weights_are_named_or_a_file_known_by_its_content(tmp_path):
    for choice in ("imagenet", "none"):
        assert named_weights(choice) == (choice, None, None)
    path = tmp_path / "mine.weights.h5"
    with pytest.raises(TrainingError, match=r"--weights must be imagenet, none or a file.*mine\.weights\.h5"):
        named_weights(str(path))
    path.write_bytes(b"numbers")
    assert named_weights(str(path)) == ("mine.weights.h5", hashlib.sha256(b"numbers").hexdigest(), path)
