import numpy as np
import pytest

from covid_core.errors import BundleError
from covid_core.inference.ensemble import Ensemble, load_ensemble, spread_of
from covid_core.inference.explanation import KernelHead

HEAD = KernelHead(
    support_vectors=np.array([[0, 0], [1, 0]], np.float32),
    coefficients=np.array([1, -1], np.float32),
    intercept=np.array([0.5], np.float32),
    gamma=np.array([0.5], np.float32),
    mean=np.array([2, 4], np.float32),
    scale=np.array([2, 1], np.float32),
)
ARRAYS = {
    "further_vectors": np.array([[0, 2]], np.float32),
    "coefficients": np.array([[1, -1, 0], [0, 0, 2]], np.float32),
    "intercepts": np.array([0.5, -1], np.float32),
}


def test_a_members_answer_is_that_of_the_kernel_worked_out_by_hand():
    # (4, 4) standardised is (1, 0): squared distances 1, 0 and 5, so kernels e^-0.5, 1 and e^-2.5.
    logits = np.array([np.exp(-0.5) - 1 + 0.5, 2 * np.exp(-2.5) - 1])
    found = Ensemble(**ARRAYS).probabilities(np.array([4, 4], np.float32), HEAD)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=1e-6)


def test_the_spread_leaves_a_fortieth_out_at_either_end():
    assert spread_of(np.arange(41) / 40) == pytest.approx((0.025, 0.975))


def test_an_ensemble_comes_back_from_its_file(tmp_path):
    np.savez(tmp_path / "ensemble.npz", **ARRAYS)
    found = load_ensemble(tmp_path / "ensemble.npz", HEAD)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(getattr(found, name), array)


@pytest.mark.parametrize(
    "change",
    [
        {"further_vectors": np.zeros((1, 3), np.float32)},
        {"further_vectors": np.zeros(3, np.float32)},
        {"coefficients": np.zeros((2, 2), np.float32)},
        {"coefficients": np.array([[1, np.nan, 0], [0, 0, 2]], np.float32)},
        {"intercepts": np.zeros(3, np.float32)},
        {"intercepts": np.zeros(2, np.float64)},
        {"coefficients": np.zeros((0, 3), np.float32), "intercepts": np.zeros(0, np.float32)},
        {"another": np.zeros(1)},
    ],
)
def test_arrays_that_do_not_fit_the_head_or_each_other_are_refused(tmp_path, change):
    np.savez(tmp_path / "ensemble.npz", **{**ARRAYS, **change})
    with pytest.raises(BundleError, match=r"ensemble\.npz"):
        load_ensemble(tmp_path / "ensemble.npz", HEAD)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"not an archive"])
def test_a_missing_or_damaged_file_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "ensemble.npz").write_bytes(content)
    with pytest.raises(BundleError, match="does not hold an ensemble"):
        load_ensemble(tmp_path / "ensemble.npz", HEAD)
