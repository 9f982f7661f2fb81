import pickle

import pytest

from covid_core import errors


def test_a_refusal_carries_its_code_and_its_sentence():
    error = errors.ImageRefusedError("too_small", "The image is too small.")
    assert error.refusal == errors.Refusal("too_small", "The image is too small.", "Export it in its full size.")
    assert str(error) == str(error.refusal) == "The image is too small. Export it in its full size."
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.refusal) == (errors.ImageRefusedError, error.refusal)


def test_a_refusal_with_a_code_that_programs_do_not_know_is_a_defect():
    with pytest.raises(ValueError, match=r"Received: 'blurred'"):
        errors.ImageRefusedError("blurred", "The image is blurred.")
