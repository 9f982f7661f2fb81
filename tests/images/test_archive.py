"""ZIP archives: what is read of them, and every way in which one is refused. Archives are built with Python's own `zipfile`."""

import stat
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images import archive, limits
from covid_core.images.archive import is_archive, members
from covid_core.images.decode import decode
from tests.images.expectations import measured
from tests.images.samples import encoded, smooth_grey, zip_of

FILM = encoded(Image.fromarray(smooth_grey()))


def refusal(data):
    with pytest.raises(ImageRefusedError) as caught:
        members(data)
    return caught.value.refusal


def refused_member(data, index=0):
    member = members(data)[index]
    with pytest.raises(ImageRefusedError) as caught:
        member.read()
    return caught.value.refusal


def in_directory(data, offset, form, value, index=0):
    """The archive with a field of an entry in its list of members replaced (APPNOTE 4.3.12)."""
    places = [place for place in range(len(data)) if data.startswith(b"PK\x01\x02", place)]
    changed = bytearray(data)
    struct.pack_into(form, changed, places[index] + offset, value)
    return bytes(changed)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_the_images_of_an_archive_are_read_one_at_a_time_and_nothing_is_written(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = zip_of({"study/a.png": FILM, "b": b"other", "empty": b""}, method)
    assert is_archive(data)
    found = members(data)
    assert [image.name for image in found] == ["study/a.png", "b", "empty"]
    assert [image.read() for image in found] == [FILM, b"other", b""]
    np.testing.assert_array_equal(decode(found[0].read()), decode(FILM))
    assert list(tmp_path.rglob("*")) == []


def test_members_are_not_unpacked_before_they_are_read():
    data = zip_of({f"{index}": np.random.default_rng(index).bytes(500_000) for index in range(20)})
    found, peak_bytes = measured(lambda: members(data))
    assert len(found) == 20
    assert peak_bytes < 500_000


def test_what_desktops_leave_behind_and_a_member_without_a_name_are_passed_over():
    left = [
        "__MACOSX/._a.png",
        "x/__MACOSX/b",
        ".DS_Store",
        "x/.DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "x/._b.png",
        "x/",
    ]
    data = zip_of({**dict.fromkeys(left, b""), "~": b"x", "x/b.png": FILM})
    found = members(data.replace(b"~", b"\0"))  # `zipfile` ends a name at the first null
    assert [image.name for image in found] == ["x/b.png"]


@pytest.mark.parametrize("files", [{}, {"x/": b""}, {".DS_Store": b"x"}])
def test_an_archive_without_files_is_refused(files):
    assert refusal(zip_of(files)).reason == "bad_archive"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b/c/d.png", "c/d.png"),
        ("a\nb\x1b[31m.png", "ab[31m.png"),
        ("ab\u202egnp.exe", "abgnp.exe"),
        ("x" * 300, "x" * 120),
        ("\x01\x02", "unnamed"),
    ],
)
def test_of_a_name_the_last_parts_are_shown_without_control_characters(name, shown):
    assert members(zip_of({name: FILM}))[0].name == shown


@pytest.mark.parametrize(
    "name", ["../a.png", "x/../../a.png", "/etc/a.png", "C:/a.png", "C:a.png", "x\\a.png", "..\\a.png", "a.png~/../x"]
)
def test_a_member_that_would_leave_the_archive_is_refused_and_the_others_are_not(name):
    data = zip_of({name: FILM, "good.png": FILM}).replace(b".png~", b".png\0")  # a null hides the end of a name
    refused = refused_member(data)
    assert (refused.reason, "outside" in refused.message) == ("bad_archive", True)
    assert members(data)[1].read() == FILM


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices_are_refused(kind):
    data = zip_of({"a.png": b"/etc/passwd", "good.png": FILM})
    data = in_directory(in_directory(data, 5, "<B", 3), 38, "<L", (kind | 0o777) << 16)  # made on Unix, with this mode
    refused = refused_member(data)
    assert (refused.reason, "link" in refused.message) == ("bad_archive", True)
    assert members(data)[1].read() == FILM


@pytest.mark.parametrize("flag", [0x1, 0x40])
def test_members_with_a_password_are_refused(flag):
    data = in_directory(zip_of({"a.png": FILM}), 8, "<H", flag)
    refused = refused_member(data)
    assert (refused.reason, "password" in refused.message) == ("bad_archive", True)


@pytest.mark.parametrize(
    "data",
    [
        zip_of({"a.png": FILM}, zipfile.ZIP_BZIP2),
        zip_of({"a.png": FILM}, zipfile.ZIP_LZMA),
        in_directory(zip_of({"a.png": FILM}), 10, "<H", 77),
    ],
    ids=["bzip2", "lzma", "unknown"],
)
def test_methods_that_need_much_memory_or_do_not_exist_are_refused(data):
    assert refused_member(data).reason == "bad_archive"


@pytest.mark.parametrize(
    "inner", [zip_of({"a": b"x"}), b"\x1f\x8b\x08", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\0", b"BZh9", b"\xfd7zXZ\0"]
)
def test_an_archive_inside_the_archive_is_refused_whatever_its_name(inner):
    assert refused_member(zip_of({"a.png": inner})).reason == "nested_archive"


def test_a_wrong_checksum_is_damage():
    data = bytearray(zip_of({"a.png": FILM, "good.png": FILM}, zipfile.ZIP_STORED))
    data[60] ^= 0xFF
    assert refused_member(bytes(data)).reason == "damaged"
    assert members(bytes(data))[1].read() == FILM


def test_a_member_that_is_too_large_is_refused_and_the_others_are_not(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 100_000)
    data = zip_of({"large": np.random.default_rng(0).bytes(100_001), "good.png": FILM})
    assert refused_member(data).reason == "too_large"
    assert members(data)[1].read() == FILM


@pytest.mark.parametrize("size", [10 * 2**20, 49 * 2**20])
def test_zeros_that_pack_a_thousandfold_are_refused_before_they_are_unpacked(size):
    data = zip_of({"bomb": bytes(size), "good.bin": np.random.default_rng(0).bytes(2**20)})
    refused, peak_bytes = measured(lambda: refused_member(data))
    assert refused.reason == "archive_too_large"
    assert peak_bytes < 100_000
    assert members(data)[1].read()
    assert refusal(zip_of({"bomb": bytes(size)})).reason == "archive_too_large"
    assert members(zip_of({"a": bytes(2**20)}))[0].read() == bytes(2**20)  # small members may pack as well as they like


@pytest.mark.parametrize("claimed", [100, 20 * 2**20])
def test_a_stated_size_that_lies_is_noticed_while_unpacking(claimed):
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = packed.compress(bytes(10 * 2**20)) + packed.flush()
    data = zip_of({"bomb": bytes(10 * 2**20), "ballast": np.random.default_rng(0).bytes(2**20)})
    assert content in data
    data = in_directory(data, 24, "<L", claimed)
    refused, peak_bytes = measured(lambda: refused_member(data))
    assert refused.reason in {"damaged", "archive_too_large"}
    assert peak_bytes < 5_000_000


def test_the_total_is_capped(monkeypatch):
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 3000)
    noise = np.random.default_rng(0)
    assert refusal(zip_of({str(index): noise.bytes(1001) for index in range(3)})).reason == "archive_too_large"
    assert len(members(zip_of({str(index): noise.bytes(1000) for index in range(3)}))) == 3


def test_the_number_of_members_is_capped():
    assert len(members(zip_of({str(index): b"x" for index in range(500)}))) == 500
    assert refusal(zip_of({str(index): b"x" for index in range(501)})).reason == "archive_too_large"


def test_a_million_members_are_refused_without_listing_them():
    entry = zip_of({"a": b""})
    directory = entry[entry.index(b"PK\x01\x02") : entry.index(b"PK\x05\x06")]
    local, listed = entry[: entry.index(b"PK\x01\x02")], directory * 900_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(listed), len(local), 0)  # says that it has one
    data = local + listed + end
    refused, peak_bytes = measured(lambda: refusal(data))
    assert refused.reason == "archive_too_large"
    assert peak_bytes < 1_000_000


def test_a_list_that_is_longer_than_it_says_is_refused():
    changed = bytearray(zip_of({str(index): b"x" for index in range(501)}))
    struct.pack_into("<2H", changed, changed.rindex(b"PK\x05\x06") + 8, 3, 3)
    assert refusal(bytes(changed)).reason == "archive_too_large"


def overlapping(count):
    """Many entries that all point to the same packed bytes, as in D. Fifield's bombs."""
    data = zip_of({f"{index:03}": FILM for index in range(count)})
    first = data[: data.index(b"PK\x03\x04", 4)]
    start = data.index(b"PK\x01\x02")
    directory = bytearray(data[start : data.rindex(b"PK\x05\x06")])
    for place in range(len(directory)):
        if directory.startswith(b"PK\x01\x02", place):
            struct.pack_into("<L", directory, place + 42, 0)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(first), 0)
    return first + bytes(directory) + end


def test_members_that_share_their_bytes_unpack_to_no_more_than_other_archives():
    data = overlapping(400)
    contents = [
        member.read() if index == 0 else refused_member(data, index) for index, member in enumerate(members(data))
    ]
    assert contents[0] == FILM
    assert {one.reason for one in contents[1:]} == {"damaged"}


@pytest.mark.parametrize("offset", [2**31, 10, 2**32 - 1])
def test_a_member_that_begins_nowhere_is_refused(offset):
    data = in_directory(zip_of({"a.png": FILM}), 42, "<L", offset)
    try:
        refused = refused_member(data)
    except ImageRefusedError as whole:
        refused = whole.refusal
    assert refused.reason in {"bad_archive", "damaged"}


def test_an_archive_cut_short_is_refused():
    data = zip_of({"a.png": FILM, "b.png": FILM})
    for end in range(4, len(data), 41):
        assert refusal(data[:end]).reason == "bad_archive"


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"])
def test_the_first_four_bytes_tell_an_archive(start):
    assert is_archive(start)
    assert refusal(start + bytes(100)).reason == "bad_archive"
    assert not any(is_archive(other) for other in (b"", b"PK", b"PK\x01\x02", FILM[:4]))
