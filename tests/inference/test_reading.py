import gc
import io
import pickle
import time
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images.decode import decode_file
from covid_core.images.display import fitted
from covid_core.images.preprocess import prepare
from covid_core.inference import batch
from covid_core.inference.batch import Given, given_content, given_path, open_one_image, read_all
from tests.fake_bundle import PREPARATION, write_image


def given_files(paths):
    return [one for path in paths for one in given_path(path)]


def reason(result):
    return getattr(result.outcome, "reason", "ok")


def test_files_are_read_in_their_order_and_bad_ones_do_not_stop_the_others(predictor, images, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("words")
    paths = [images[3], tmp_path / "empty.png", images[1], tmp_path / "none.png", tmp_path / "notes.txt", images[7]]
    results = list(read_all(predictor, given_files(paths)))
    assert [reason(one) for one in results] == ["ok", "empty_file", "ok", "missing_file", "not_an_image", "ok"]
    assert list(read_all(predictor, [])) == []
    assert [one.file for one in results] == [str(path) for path in paths]
    for place, path in ((0, images[3]), (2, images[1]), (5, images[7])):
        expected = predictor.predict(decode_file(path)).probability_covid
        assert results[place].outcome.probability_covid == expected


def test_only_a_few_images_are_decoded_ahead(predictor, images, monkeypatch):
    opened = []

    def counted(given):
        opened.append(given.name)
        return open_one_image(given)

    monkeypatch.setattr(batch, "open_one_image", counted)
    results = read_all(predictor, given_files(images * 20))
    for taken in range(1, 31):
        next(results)
        time.sleep(0.005)  # lets the decoding threads run ahead, if anything lets them
        assert len(opened) <= taken + 2 * batch.WORKERS
    results.close()
    assert len(opened) < 60


def packed(*files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return content.getvalue()


def test_every_image_of_an_archive_has_a_result_of_its_own(predictor, images, tmp_path):
    data = packed(("a/one.png", images[0].read_bytes()), ("notes.txt", b"words"), ("two.png", images[1].read_bytes()))
    (tmp_path / "images.zip").write_bytes(data)
    results = list(read_all(predictor, given_path(tmp_path / "images.zip")))
    assert [reason(one) for one in results] == ["ok", "not_an_image", "ok"]
    assert all(one.file.startswith(str(tmp_path / "images.zip")) for one in results)
    alone = [predictor.predict(decode_file(path)).probability_covid for path in images[:2]]
    assert [results[0].outcome.probability_covid, results[2].outcome.probability_covid] == alone


def test_an_archive_that_cannot_be_opened_is_refused_as_one(predictor):
    given = given_content("images.zip", b"PK\x03\x04" + b"\0" * 60)
    assert [(one.file, reason(one)) for one in read_all(predictor, given)] == [("images.zip", "bad_archive")]


@pytest.mark.parametrize(
    ("count", "side", "cut"),
    [(8, 3000, 0), (8, 3000, 2000), pytest.param(200, 7000, 0, marks=pytest.mark.slow)],
    ids=["blank", "cut short", "200 blank"],
)
def test_a_refused_image_leaves_no_pixels_in_memory(predictor, count, side, cut):
    content = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(content, "PNG")
    image = content.getvalue()[: len(content.getvalue()) - cut]
    archive = packed(*((f"{number}.png", image) for number in range(count)))
    del content, image
    list(read_all(predictor, given_content("warm up.zip", archive)[:1]))
    gc.collect()
    tracemalloc.start()
    results = list(read_all(predictor, given_content("images.zip", archive)))
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert [reason(one) for one in results] == ["damaged" if cut else "constant"] * count
    assert kept < 10 * 2**20  # one picture alone has at least 34 MiB


def test_a_result_can_be_pickled_whatever_became_of_the_image(predictor, images):
    for path in (images[0], images[0].with_suffix(".none")):
        (result,) = read_all(predictor, given_path(path))
        copy = pickle.loads(pickle.dumps(result))
        assert (copy.file, type(copy.outcome), reason(copy)) == (result.file, type(result.outcome), reason(result))


@pytest.mark.parametrize(
    ("repair", "by_numpy"),
    [
        ("turn_left", np.rot90),
        ("turn_around", lambda a: np.rot90(a, 2)),
        ("turn_right", lambda a: np.rot90(a, -1)),
        ("invert", lambda a: 255 - a),
    ],
)
def test_a_repaired_image_is_read_as_if_it_had_been_given_so(predictor, tmp_path, repair, by_numpy):
    image = write_image(tmp_path / "image.png", seed=4)
    other = tmp_path / "other.png"
    Image.fromarray(np.ascontiguousarray(by_numpy(np.asarray(Image.open(image))))).save(other)
    asked = [replace(one, repairs=(repair,)) for one in given_path(image)]
    found, expected = next(read_all(predictor, asked)), next(read_all(predictor, given_path(other)))
    assert found.outcome.probability_covid == pytest.approx(expected.outcome.probability_covid, abs=1e-6)
    assert found.repairs == (repair,)
    four_quarters = replace(given_path(image)[0], repairs=("turn_right", "turn_right", "turn_around"))
    np.testing.assert_array_equal(open_one_image(four_quarters).image, decode_file(image))


def test_a_result_keeps_what_the_file_says_and_the_pixels_that_pages_need(predictor, tmp_path, images):
    large = write_image(tmp_path / "large.png", seed=4, height=1500, width=1000)
    result = next(read_all(predictor, given_path(large)))
    assert (result.picture.dtype, max(result.picture.shape)) == (np.uint8, 1024)
    np.testing.assert_allclose(result.image, fitted(decode_file(large)), atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(result.model_input, prepare(decode_file(large), PREPARATION))
    result = next(read_all(predictor, given_path(images[0])))
    assert result.kind == "PNG"
    assert result.thumbnail.dtype == np.uint8
    assert max(result.thumbnail.shape) <= 96
    assert any("small" in warning or "pixels" in warning for warning in result.warnings)  # the image is 150 x 130


def test_an_image_that_was_read_before_is_predicted_without_its_file(predictor, images):
    earlier = next(read_all(predictor, given_path(images[0])))

    def lost() -> bytes:
        raise ImageRefusedError("missing_file", "It is gone.")

    again = next(read_all(predictor, [Given(earlier.file, lost, anyway=True, earlier=earlier)]))
    assert again.outcome.probability_covid == earlier.outcome.probability_covid
    assert reason(next(read_all(predictor, [Given("a.png", lost, earlier=earlier.without_pixels())]))) == "missing_file"
