"""Ten thousand broken files: whatever the bytes, the intake gives a radiograph or a refusal, and says nothing else.

The files start from one of each kind that is read (`samples.small_files`), changed in a few places the same way in every run.
"""

import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from covid_core.errors import ImageRefusedError
from covid_core.images.archive import is_archive, members
from covid_core.images.decode import read_image
from covid_core.images.types import Radiograph
from tests.images.samples import small_files

KINDS = {"PNG": 2000, "JPEG": 2000, "DICOM": 4500, "ZIP": 1500}
"""Kind of file -> how many broken ones."""
HEADER = 600
"""Bytes in which most that a reader believes is said."""

NUMBERS = [
    *(bytes(2), bytes(4), b"\xff\xff", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"),
    *(b"\x80\0", b"\0\0\0\x80", b"\1\0\0\0"),
]
PLACE = st.one_of(st.integers(0, HEADER), st.integers(0, 2**16))
CHANGES = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(1, 255)),
    st.tuples(st.just("number"), PLACE, st.sampled_from(NUMBERS)),
    st.tuples(st.just("insert"), PLACE, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("repeat"), PLACE, st.integers(1, 300)),
    st.tuples(st.just("remove"), PLACE, st.integers(1, 300)),
    st.tuples(st.just("cut"), PLACE, st.none()),
    st.tuples(st.just("splice"), PLACE, PLACE),
)


def changed(data, changes, other):
    """The bytes with each change made in turn; places count from the beginning and wrap around at the end."""
    content = bytearray(data)
    for kind, anywhere, value in changes:
        place = anywhere % (len(content) + 1)
        if kind == "flip" and place < len(content):
            content[place] ^= value
        elif kind == "number":
            content[place : place + len(value)] = value
        elif kind == "insert":
            content[place:place] = value
        elif kind == "repeat":
            content[place:place] = content[place : place + value]
        elif kind == "remove":
            del content[place : place + value]
        elif kind == "cut":
            del content[max(place, 1) :]
        elif kind == "splice":
            content[place:] = other[value % len(other) :]
    return bytes(content)


def sealed(data):
    """A PNG with the checksum of each piece set right, so that its reader looks at what is in it."""
    content, place = bytearray(data), 8
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        content[end : end + 4] = zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")[: max(len(content) - end, 0)]
        place = end + 4
    return bytes(content)


def outcome(data):
    """What becomes of a file: the image, the refusal, or those of the members of an archive."""
    try:
        if is_archive(data):
            return [outcome_of(member.read) for member in members(data)]
    except ImageRefusedError as refusal:
        return [refusal]
    return [outcome_of(lambda: data)]


def outcome_of(content):
    try:
        return read_image(content())
    except ImageRefusedError as refusal:
        return refusal


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_the_bytes_the_outcome_is_an_image_or_a_refusal(kind, capfd, caplog):
    seeds = {name: content for name, content in small_files().items() if name.startswith(kind)}
    found = []

    @settings(
        max_examples=KINDS[kind],
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(sorted(seeds)), st.lists(CHANGES, min_size=1, max_size=4), st.sampled_from(sorted(seeds)))
    def run(name, changes, other):
        data = changed(seeds[name], changes, seeds[other])
        if kind == "PNG" and len(data) % 4:
            data = sealed(data)
        outcomes = outcome(data)
        for one in outcomes:
            if isinstance(one, Radiograph):
                assert (one.image.dtype, one.image.ndim) == (np.float32, 2)
                assert np.isfinite(one.image).all()
                assert 0 <= one.image.min() < one.image.max() <= 1
        found.extend(type(one) for one in outcomes)

    run()
    assert len(found) >= KINDS[kind]
    assert min(found.count(Radiograph), found.count(ImageRefusedError)) > KINDS[kind] / 50  # both happen
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
