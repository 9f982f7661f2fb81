import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_core.dataset.lung_masks import DRAWN_NAME, ESTIMATED_NAME, read_lung_mask, read_lung_masks
from covid_core.errors import DatasetError


def picture(grey: np.ndarray, kind: str = "PNG") -> bytes:
    """The content of an image file."""
    content = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(content, kind)
    return content.getvalue()


def one_side(side: str, size: int = 32) -> np.ndarray:
    """A mask whose left or right half is lung."""
    grey = np.zeros((size, size), np.uint8)
    grey[:, : size // 2] = 255
    return grey if side == "left" else grey[:, ::-1]


def write_drawn(folder: Path, masks: dict[str, bytes]) -> Path:
    """The zip file as upstream keeps it: everything in one folder of the archive, which has an entry of its own."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / DRAWN_NAME, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("semantic_masks_v7labs_lungs/", "")
        for name, content in masks.items():
            archive.writestr(f"semantic_masks_v7labs_lungs/{name}", content)
    return folder


def write_estimated(folder: Path, masks: dict[str, bytes]) -> Path:
    (folder / ESTIMATED_NAME).mkdir(parents=True)
    for stem, content in masks.items():
        (folder / ESTIMATED_NAME / f"{stem}_mask.png").write_bytes(content)
    return folder


def test_masks_stand_beside_their_images_and_drawn_ones_go_before_estimated_ones(tmp_path: Path) -> None:
    write_drawn(tmp_path, {"both.jpg": picture(one_side("left"), "JPEG"), "drawn.PNG": picture(one_side("right"))})
    write_estimated(tmp_path, {"both": picture(one_side("right")), "estimated.v2": picture(one_side("left"))})
    masks = read_lung_masks(tmp_path, ["none.png", "estimated.v2.jpeg", "drawn.png", "both.jpg"], 32)
    assert masks.inside.shape == (4, 32, 32)
    assert masks.inside.dtype == np.bool_
    assert masks.covered.tolist() == [False, True, True, True]
    assert not masks.inside[0].any()
    left = np.repeat([[True] * 16 + [False] * 16], 32, axis=0)
    for inside, expected in zip(masks.inside[1:], (left, ~left, left), strict=True):
        np.testing.assert_array_equal(inside, expected)


@pytest.mark.parametrize("name", ["annotations", "nowhere"])
def test_a_folder_without_masks_is_refused_and_says_what_it_lacks(tmp_path: Path, name: str) -> None:
    (tmp_path / "annotations" / ESTIMATED_NAME).mkdir(parents=True)
    with pytest.raises(DatasetError, match=rf"neither {DRAWN_NAME} nor {ESTIMATED_NAME}/"):
        read_lung_masks(tmp_path / name, ["image.png"], 32)


@pytest.mark.parametrize("damage", ["no zip", "stream", "checksum", "method"])
def test_a_damaged_zip_is_refused(tmp_path: Path, damage: str) -> None:
    """No zip at all, or damaged in the deflated bytes of a member, in its checksum, in what says how it is packed."""
    steps = np.random.default_rng(0).integers(0, 4, (64, 64)) * 85
    unpacked = io.BytesIO()
    Image.fromarray(steps.astype(np.uint8)).save(unpacked, "PNG", compress_level=0)  # the archive has to pack it
    path = write_drawn(tmp_path, {"image.png": unpacked.getvalue()}) / DRAWN_NAME
    content = bytearray(path.read_bytes())
    header, entry = content.rindex(b"PK\x03\x04"), content.rindex(b"PK\x01\x02")  # of the last member
    if damage == "stream":
        content[header + 30 + content[header + 26]] = 0xFF  # the first byte after header and name: no kind of block
    elif damage == "no zip":
        content = bytearray(b"PK\x03\x04 and no more of it")
    elif damage == "checksum":
        content[entry + 16] ^= 0xFF
    else:
        content[entry + 10] = 99
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{DRAWN_NAME} cannot be read"):
        read_lung_masks(tmp_path, ["image.png"], 32)


def test_a_folder_in_the_place_of_a_mask_is_refused(tmp_path: Path) -> None:
    (tmp_path / ESTIMATED_NAME / "image_mask.png").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"The lung mask of image\.png cannot be read"):
        read_lung_masks(tmp_path, ["image.png"], 32)
    with pytest.raises(DatasetError, match=r"The lung mask of image\.png cannot be read"):
        read_lung_mask(tmp_path, "image.png")


def test_a_zip_packed_by_lzma_and_damaged_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / DRAWN_NAME, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("image.png", picture(one_side("left")))
    content = bytearray((tmp_path / DRAWN_NAME).read_bytes())
    content[30 + len("image.png") + 9 : 30 + len("image.png") + 20] = b"\xff" * 11  # after the coder's own header
    (tmp_path / DRAWN_NAME).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{DRAWN_NAME} cannot be read"):
        read_lung_masks(tmp_path, ["image.png"], 32)


@pytest.mark.parametrize("content", [b"not a picture", picture(one_side("left"))[:60], b""])
@pytest.mark.parametrize("drawn", [True, False])
def test_a_mask_that_is_no_picture_is_refused_with_its_image(tmp_path: Path, content: bytes, drawn: bool) -> None:
    if drawn:
        write_drawn(tmp_path, {"image.png": content, "other.png": picture(one_side("left"))})
    else:
        write_estimated(tmp_path, {"image": content, "other": picture(one_side("left"))})
    with pytest.raises(DatasetError, match=r"The lung mask of image\.jpg cannot be read"):
        read_lung_masks(tmp_path, ["image.jpg"], 32)
    with pytest.raises(DatasetError, match=r"The lung mask of image\.jpg cannot be read"):
        read_lung_mask(tmp_path, "image.jpg")
    assert read_lung_masks(tmp_path, ["other.png", "none.png"], 32).covered.tolist() == [True, False]


def test_the_mask_of_one_image_is_as_large_as_it_is_kept_and_says_who_made_it(tmp_path: Path) -> None:
    grey = np.zeros((30, 90))
    grey[10:20, 60:] = 255
    write_drawn(tmp_path, {"wide.png": picture(grey), "other.png": b"not a picture"})
    write_estimated(tmp_path, {"wide": picture(255 - grey), "net.v2": picture(grey)})
    drawn, estimated = read_lung_mask(tmp_path, "wide.JPG"), read_lung_mask(tmp_path, "net.v2.jpeg")
    assert drawn is not None
    assert estimated is not None
    assert (drawn.drawn, estimated.drawn) == (True, False)
    for mask in (drawn, estimated):
        np.testing.assert_array_equal(mask.inside, grey == 255)


@pytest.mark.parametrize("name", ["none.png", "", "..", "../secret.png", "/etc/passwd", "a\0b", "*", "x" * 5000])
def test_an_image_without_a_mask_has_none_whatever_its_name(tmp_path: Path, name: str) -> None:
    write_drawn(tmp_path / "annotations", {"image.png": picture(one_side("left"))})
    write_estimated(tmp_path / "annotations", {"other": picture(one_side("left"))})
    (tmp_path / "secret_mask.png").write_bytes(picture(one_side("left")))
    assert read_lung_mask(tmp_path / "annotations", name) is None
    assert read_lung_mask(tmp_path / "nowhere", "image.png") is None


def test_masks_of_the_real_collection_have_the_shape_of_their_images(real_dataset: Path) -> None:
    """An image may have been reduced, so that its sides are rounded: at most one pixel of 512."""
    annotations, images = real_dataset / "annotations", real_dataset / "images"
    for drawn, names in ((True, ["16745_7_5.PNG", "1-s2.0-S0140673620303706-fx1_lrg.jpg"]), (False, ["wong-0005.jpg"])):
        for name in names:
            mask = read_lung_mask(annotations, name)
            assert mask is not None
            assert mask.drawn is drawn
            with Image.open(images / name) as image:
                assert mask.inside.shape[1] / mask.inside.shape[0] == pytest.approx(
                    image.width / image.height, rel=0.006
                )
