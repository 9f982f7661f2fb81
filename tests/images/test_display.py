import numpy as np

from covid_core.images.display import fitted


def test_a_picture_is_reduced_to_its_longest_side_and_a_small_one_left_as_it_is() -> None:
    assert fitted(np.zeros((3000, 2000), np.float32), 1024).shape == (1024, 683)
    assert fitted(np.zeros((1, 5000), np.float32), 100).shape == (1, 100)
    image = np.random.default_rng(0).random((300, 200), np.float32)
    assert fitted(image, 1024) is image


def test_a_reduced_picture_keeps_its_greys() -> None:
    halves = np.concatenate([np.full((2000, 1000), 0.25), np.full((2000, 1000), 0.75)], axis=1).astype(np.float32)
    shown = fitted(halves, 200)
    assert shown.dtype == np.float32
    assert np.allclose(shown[:, :95], 0.25)
    assert np.allclose(shown[:, 105:], 0.75)
