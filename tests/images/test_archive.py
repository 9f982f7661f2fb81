"""ZIP archives: what is read of them, and every way in which one is refused. Archives are built with Python's own `zipfile`."""

import io
import stat
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images import archive
from covid_core.images.archive import is_archive, members
from covid_core.images.decode import decode
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


def with_entry(change, content=FILM, name="a.png"):
    """An archive of two images, the first with an entry that was changed in place before it was written."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.create_system = 3  # Unix
        change(entry)
        file.writestr(entry, content)
        file.writestr("good.png", FILM)
    return stream.getvalue()


def in_directory(data, offset, form, value, index=0):
    """The archive with a field of an entry in its list of members replaced (APPNOTE 4.3.12)."""
    places = [place for place in range(len(data)) if data.startswith(b"PK\x01\x02", place)]
    changed = bytearray(data)
    struct.pack_into(form, changed, places[index] + offset, value)
    return bytes(changed)


def test_the_images_of_an_archive_are_read_one_at_a_time():
    data = zip_of({"study/a.png": FILM, "b": b"other", "empty": b""})
    assert is_archive(data)
    films = members(data)
    assert [image.name for image in films] == ["study/a.png", "b", "empty"]
    assert [image.read() for image in films] == [FILM, b"other", b""]
    np.testing.assert_array_equal(decode(films[0].read()), decode(FILM))


def test_stored_members_are_read_as_well():
    (image,) = members(zip_of({"a.png": FILM}, zipfile.ZIP_STORED))
    assert image.read() == FILM


def test_members_are_not_unpacked_before_they_are_read():
    data = zip_of({f"{index}": np.random.default_rng(index).bytes(500_000) for index in range(20)})
    tracemalloc.start()
    films = members(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(films) == 20
    assert peak_bytes < 500_000


def test_what_desktops_leave_behind_is_passed_over():
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
    films = members(zip_of({**dict.fromkeys(left, b""), "x/b.png": FILM}))
    assert [image.name for image in films] == ["x/b.png"]


def test_a_member_without_a_name_is_passed_over():
    data = zip_of({"~": b"x", "good.png": FILM}).replace(b"~", b"\0")  # `zipfile` ends a name at the first null
    assert [image.name for image in members(data)] == ["good.png"]


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
    "name", ["../a.png", "x/../../a.png", "/etc/a.png", "C:/a.png", "C:a.png", "x\\a.png", "..\\a.png"]
)
def test_a_member_that_would_leave_the_archive_is_refused_and_the_others_are_not(name):
    data = zip_of({name: FILM, "good.png": FILM})
    refused = refused_member(data)
    assert (refused.reason, "outside" in refused.message) == ("bad_archive", True)
    assert members(data)[1].read() == FILM


def test_a_name_that_hides_its_end_behind_a_null_is_refused():
    data = zip_of({"a.png~/../x": FILM}).replace(b"a.png~", b"a.png\0")
    assert refused_member(data).reason == "bad_archive"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices_are_refused(kind):
    def change(entry):
        entry.external_attr = (kind | 0o777) << 16

    data = with_entry(change, b"/etc/passwd")
    refused = refused_member(data)
    assert (refused.reason, "link" in refused.message) == ("bad_archive", True)
    assert members(data)[1].read() == FILM


@pytest.mark.parametrize("flag", [0x1, 0x40])
def test_members_with_a_password_are_refused(flag):
    data = in_directory(zip_of({"a.png": FILM}), 8, "<H", flag)
    refused = refused_member(data)
    assert (refused.reason, "password" in refused.message) == ("bad_archive", True)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_need_much_memory_are_refused(method):
    assert refused_member(zip_of({"a.png": FILM}, method)).reason == "bad_archive"


def test_a_method_that_does_not_exist_is_refused():
    assert refused_member(in_directory(zip_of({"a.png": FILM}), 10, "<H", 77)).reason == "bad_archive"


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
    monkeypatch.setattr(archive, "MAX_BYTES", 100_000)
    data = zip_of({"large": np.random.default_rng(0).bytes(100_001), "good.png": FILM})
    assert refused_member(data).reason == "too_large"
    assert members(data)[1].read() == FILM


@pytest.mark.parametrize("size", [10 * 2**20, 49 * 2**20])
def test_zeros_that_pack_a_thousandfold_are_refused_before_they_are_unpacked(size):
    data = zip_of({"bomb": bytes(size), "good.bin": np.random.default_rng(0).bytes(2**20)})
    tracemalloc.start()
    refused = refused_member(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.reason == "archive_too_large"
    assert peak_bytes < 100_000
    assert members(data)[1].read()


def test_an_archive_that_packs_a_thousandfold_as_a_whole_is_refused():
    assert refusal(zip_of({"bomb": bytes(10 * 2**20)})).reason == "archive_too_large"


def test_small_members_may_pack_as_well_as_they_like():
    assert members(zip_of({"a": bytes(2**20)}))[0].read() == bytes(2**20)


@pytest.mark.parametrize("claimed", [100, 20 * 2**20])
def test_a_stated_size_that_lies_is_noticed_while_unpacking(claimed):
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = packed.compress(bytes(10 * 2**20)) + packed.flush()
    data = zip_of({"bomb": bytes(10 * 2**20), "ballast": np.random.default_rng(0).bytes(2**20)})
    assert content in data
    data = in_directory(data, 24, "<L", claimed)
    tracemalloc.start()
    refused = refused_member(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
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
    tracemalloc.start()
    assert refusal(data).reason == "archive_too_large"
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
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


@pytest.mark.parametrize("start", [b"", b"PK", b"PK\x01\x02", FILM[:4]])
def test_other_bytes_are_no_archive(start):
    assert not is_archive(start)


def test_nothing_is_ever_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for member in members(zip_of({"a.png": FILM, "x/b.png": FILM})):
        member.read()
    assert list(tmp_path.rglob("*")) == []
