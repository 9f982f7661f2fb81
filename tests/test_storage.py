import hashlib
import json
import random

import pytest

from covid_core.errors import BundleError, DatasetError
from covid_core.files import (
    read_json,
    sha256_of_bytes,
    sha256_of_file,
    write_json,
    write_text,
    written_aside,
)


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def test_the_file_is_in_place_only_after_the_block(tmp_path):
    target = tmp_path / "deep" / "figures.csv"
    with written_aside(target) as aside:
        aside.write_text("new")
        assert not target.exists()
        assert (aside.suffix, aside.parent) == (".csv", target.parent)
    assert target.read_text() == "new"
    assert names_in(target.parent) == ["figures.csv"]


@pytest.mark.parametrize("written", [True, False])
def test_the_old_content_stays_and_nothing_is_left_behind_when_the_block_raises(tmp_path, written):
    target = tmp_path / "figures.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="disk"), written_aside(target) as aside:
        if written:
            aside.write_text("half of the n")
        raise RuntimeError("disk full")
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["figures.csv"]


def test_text_and_json_are_utf_8_with_plain_newlines_and_keep_their_order(tmp_path):
    write_text(tmp_path / "a.md", "µ\né\n")
    assert (tmp_path / "a.md").read_bytes() == b"\xc2\xb5\n\xc3\xa9\n"
    write_json(tmp_path / "a.json", {"z": 1, "a": ["é", None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "z": 1,\n  "a": [\n    "é",\n    null\n  ]\n}\n'
    assert read_json(tmp_path / "a.json", BundleError) == {"z": 1, "a": ["é", None]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_know_are_refused_and_the_old_file_stays(tmp_path, value):
    write_json(tmp_path / "a.json", {"auc": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"auc": value})
    assert json.loads((tmp_path / "a.json").read_text()) == {"auc": 0.5}


def test_a_missing_or_broken_json_file_raises_the_error_that_was_given(tmp_path):
    with pytest.raises(DatasetError, match="is missing"):
        read_json(tmp_path / "a.json", DatasetError)
    for content in (b'{"a": ', b'{"a": "\xe9"}'):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(BundleError, match=r"a\.json cannot be read as JSON"):
            read_json(tmp_path / "a.json", BundleError)


def test_hashes_are_those_of_a_published_example(tmp_path):
    # FIPS 180-2, appendix B.1: the message "abc"
    published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of_bytes(b"abc") == published
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "abc") == published
    long = random.Random(0).randbytes(3_000_001)
    (tmp_path / "long").write_bytes(long)
    assert sha256_of_file(tmp_path / "long") == hashlib.sha256(long).hexdigest()
