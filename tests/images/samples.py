"""Small files of every kind that the intake meets, made in memory. Nothing here uses the code under test."""

import io
import struct
import warnings
import zipfile
import zlib

import jpeg_ls
import numpy as np
import openjpeg.utils
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

HEIGHT, WIDTH = 70, 90
RED, GREEN, BLUE = 0.299, 0.587, 0.114
"""Weights of luma, ITU-R BT.601."""


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def smooth_grey(height=HEIGHT, width=WIDTH, seed=0):
    """uint8 (height, width): a picture that JPEG keeps within a few greys."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def smooth_colours(height=HEIGHT, width=WIDTH):
    return np.stack([smooth_grey(height, width, seed) for seed in (1, 2, 3)], axis=-1)


def luma(rgb, white=255):
    return rgb.astype(np.float64) @ [RED, GREEN, BLUE] / white


def ramp(low, high, height=HEIGHT, width=WIDTH):
    """Integers that rise from `low` to `high`, (height, width)."""
    return np.linspace(low, high, height * width).round().astype(np.int64).reshape(height, width)


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_with_header(width, height, *further):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(further)


def jpeg_with_orientation(grey, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(grey), "JPEG", quality=95, exif=exif)


def broken_exif_jpeg():
    """A JPEG whose EXIF block announces two entries and ends within the first."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06"
    return encoded(Image.fromarray(smooth_grey()), "JPEG", quality=95, exif=exif)


def palette_picture():
    """An image of four colours, its indices and its colours."""
    indices = np.random.default_rng(5).integers(0, 4, (HEIGHT, WIDTH), dtype=np.uint8)
    colours = np.array([[0, 0, 0], [255, 255, 255], [200, 30, 90], [10, 220, 60]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(colours.ravel().tolist())
    return image, indices, colours


def dicom_dataset(pixels, **elements):
    """A CR image as a dataset with its uncompressed pixels; `elements` replace its own, and None removes one."""
    signed = pixels.dtype.kind == "i"
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid(entropy_srcs=["image"])
    dataset.Modality, dataset.PatientName, dataset.PatientID = "CR", "SECRET^NAME", "SECRET-ID"
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of values that the standard forbids: some are to be written
        for keyword, value in elements.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
    if "BitsStored" in dataset and "HighBit" not in dataset:
        dataset.HighBit = dataset.BitsStored - 1
    return dataset


def dicom(pixels, syntax=ExplicitVRLittleEndian, **elements):
    """The bytes of a CR image; see `dicom_dataset`."""
    return dicom_bytes(dicom_dataset(pixels, **elements), syntax)


def dicom_bytes(dataset, syntax=ExplicitVRLittleEndian):
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", ComputedRadiographyImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.file_meta.ImplementationClassUID = "1.2.3.4"
    stream = io.BytesIO()
    dataset.preamble = bytes(128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def compressed_dicom(pixels, syntax, frame, **elements):
    """A CR image with compressed pixels; `frame` is one, or several fragments in a list."""
    fragments = frame if isinstance(frame, list) else [frame]
    dataset = dicom_dataset(pixels, **elements)
    dataset.PixelData = encapsulate(fragments, has_bot=False)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dicom_bytes(dataset, syntax)


def jpeg_2000(pixels, bits):
    colours = {} if pixels.ndim == 2 else {"photometric_interpretation": 1}
    return bytes(openjpeg.utils.encode_array(pixels, bits_stored=bits, **colours))


def jpeg_lossless_ls(pixels):
    return bytes(jpeg_ls.encode_array(pixels, interleave_mode=0 if pixels.ndim == 2 else 2))


def run_length(pixels):
    """A frame of RLE Lossless (PS3.5 annex G) in literal runs: one segment for each byte of each sample, high bytes first."""
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    segments = []
    for sample in range(planes.shape[2]):
        plane = np.ascontiguousarray(planes[..., sample]).view(np.uint8).reshape(-1, pixels.itemsize)
        for byte in reversed(range(pixels.itemsize)):
            values = plane[:, byte].tobytes()
            runs = (values[start : start + 128] for start in range(0, len(values), 128))
            packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
            segments.append(packed + b"\0" * (len(packed) % 2))
    offsets = np.cumsum([64, *map(len, segments)])[:-1]
    header = struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def look_up_item(first, entries, bits):
    """A dataset with a look-up table (PS3.3 C.11.1)."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries) % 2**16, first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return item


def zip_of(files, method=zipfile.ZIP_DEFLATED):
    """A ZIP archive of {name: content}."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def small_files():
    """One file of each kind that the intake reads, {name: content}: what the fuzz test starts from."""
    grey, rgb = smooth_grey(), smooth_colours()
    deep = ramp(0, 4095).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    picture = Image.fromarray(grey)
    flipped = Image.fromarray(grey[::-1].copy())
    secondary = {"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT"}
    tables = {
        "ModalityLUTSequence": [look_up_item(0, np.arange(4096) // 2, 12)],
        "VOILUTSequence": [look_up_item(0, np.arange(2048) * 32, 16)],
    }
    window = {"WindowCenter": [2048, 40], "WindowWidth": [4096, 400], "RescaleSlope": 1, "RescaleIntercept": 0}
    twelve = {"BitsStored": 12, "ViewPosition": "PA", "BodyPartExamined": "CHEST", "PatientAge": "064Y", **window}
    jpeg = encoded(picture, "JPEG")
    png = encoded(picture, exif=exif)
    explicit = dicom(deep, **twelve, Manufacturer="Maker", BurnedInAnnotation="YES", PixelPaddingValue=0)
    return {
        "PNG grey": png,
        "PNG alpha": encoded(Image.fromarray(np.dstack([rgb, grey]))),
        "PNG palette": encoded(Image.fromarray(rgb).quantize(16), transparency=bytes([0, 128, 255])),
        "PNG 16 bits": encoded(Image.fromarray(deep)),
        "PNG 1 bit": encoded(picture.convert("1")),
        "PNG animated": encoded(picture, save_all=True, append_images=[flipped]),
        "JPEG grey": encoded(picture, "JPEG", exif=exif),
        "JPEG colours": encoded(Image.fromarray(rgb), "JPEG", exif=exif, comment="hello"),
        "JPEG progressive": encoded(Image.fromarray(rgb), "JPEG", progressive=True, icc_profile=b"x" * 300),
        "JPEG for print": encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG"),
        "JPEG of two": encoded(picture, "MPO", save_all=True, append_images=[flipped]),
        "DICOM explicit": explicit,
        "DICOM implicit": dicom(deep, ImplicitVRLittleEndian, **twelve, **tables),
        "DICOM big-endian": dicom(deep.astype(">u2"), ExplicitVRBigEndian, **twelve),
        "DICOM bare": explicit[explicit.index(b"\x08\0\x16\0UI") :],
        "DICOM colours": dicom(rgb, **secondary),
        "DICOM run-length": compressed_dicom(deep, RLELossless, run_length(deep), **twelve),
        "DICOM JPEG": compressed_dicom(grey, JPEGBaseline8Bit, jpeg),
        "DICOM JPEG-LS": compressed_dicom(deep, JPEGLSLossless, jpeg_lossless_ls(deep), **twelve),
        "DICOM JPEG 2000": compressed_dicom(deep, JPEG2000Lossless, jpeg_2000(deep, 12), **twelve),
        "ZIP": zip_of({"images/a.png": png, "images/b.jpg": jpeg, "c": explicit, "folder/": b""}),
        "ZIP stored": zip_of({"a.png": png, "nested.zip": zip_of({"a": b"x"})}, zipfile.ZIP_STORED),
    }
