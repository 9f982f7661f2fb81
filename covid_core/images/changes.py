"""Harmless changes of a radiograph: what hangs, saves, crops or marks it otherwise without changing what it shows.

Training applies them at random (`covid_core.training.augmentation`), the evaluation one by one at a fixed strength
(`covid_core.evaluation.robustness`). All take and give uint8 (h, w); drawn marks scale with the image.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Grey = NDArray[np.uint8]

_LETTERS = ("R", "L", "AP", "PORTABLE", "ERECT", "SUPINE", "RIGHT", "MOBILE", "08:15")


def rotate(image: Grey, degrees: float) -> Grey:
    """Rotate about the centre, counter-clockwise; the corners become black."""
    return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR))


def crop(image: Grey, share: float) -> Grey:
    """Cut `share` of the width (height) off each side."""
    height, width = image.shape
    top, left = round(height * share), round(width * share)
    return image[top : height - top, left : width - left]


def add_border(image: Grey, share: float, value: int = 0) -> Grey:
    """Put a border of one grey around; its width is `share` of the image's."""
    height, width = image.shape
    rows, columns = round(height * share), round(width * share)
    return np.pad(image, ((rows, rows), (columns, columns)), constant_values=value)


def blur(image: Grey, sigma: float) -> Grey:
    """Blur by a Gaussian of `sigma` thousandths of the image's longer side."""
    radius = sigma / 1000 * max(image.shape)
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def compress(image: Grey, quality: int) -> Grey:
    """Save as JPEG at a quality in [1, 95] and read again."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    with Image.open(content) as saved:
        return np.asarray(saved.convert("L"))


def adjust_gamma(image: Grey, gamma: float) -> Grey:
    """Raise the greys, in [0, 1], to the power `gamma`."""
    table = np.rint((np.arange(256) / 255) ** gamma * 255).astype(np.uint8)
    return table[image]


def shrink(image: Grey, side: int) -> Grey:
    """Resample to at most `side` pixels on the longer side."""
    height, width = image.shape
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))


def draw_arrows(image: Grey, rng: np.random.Generator, count: int = 2) -> Grey:
    """Draw arrows, as textbooks do, on the middle part; white, or now and then black."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    height, width = image.shape
    side = min(height, width)
    for _ in range(count):
        length, thickness = side * rng.uniform(0.06, 0.18), side * rng.uniform(0.01, 0.03)
        angle = rng.uniform(0, 2 * np.pi)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        tip = np.array([width, height]) * rng.uniform(0.15, 0.85, 2)
        neck = tip - along * min(length * 0.45, thickness * 3)
        tail = tip - along * length
        outline = (
            tip,
            neck + across * thickness * 1.6,
            neck + across * thickness / 2,
            tail + across * thickness / 2,
            tail - across * thickness / 2,
            neck - across * thickness / 2,
            neck - across * thickness * 1.6,
        )
        value = 255 if rng.random() < 0.8 else 0  # noqa: PLR2004  most published arrows are white
        draw.polygon([(float(x), float(y)) for x, y in outline], fill=value)
    return np.asarray(picture)


def draw_letters(image: Grey, rng: np.random.Generator, count: int = 2) -> Grey:
    """Write side markers and stamps near the upper and lower edge."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    height, width = image.shape
    for _ in range(count):
        font = ImageFont.load_default(size=float(min(height, width) * rng.uniform(0.04, 0.10)))
        upper = rng.random() < 0.8  # noqa: PLR2004  most markers are at the top
        y = height * (rng.uniform(0.0, 0.15) if upper else rng.uniform(0.8, 0.95))
        text = _LETTERS[rng.integers(len(_LETTERS))]
        draw.text((width * rng.uniform(0.0, 0.9), y), text, fill=int(rng.integers(200, 256)), font=font)
    return np.asarray(picture)


def draw_electrodes(image: Grey, rng: np.random.Generator, count: int = 3) -> Grey:
    """Draw electrodes with their leads, as monitored patients wear them."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    height, width = image.shape
    side = min(height, width)
    for _ in range(count):
        x, y = width * rng.uniform(0.15, 0.85), height * rng.uniform(0.15, 0.8)
        radius, value = side * rng.uniform(0.01, 0.022), int(rng.integers(190, 256))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)
        end = (width * rng.choice([0.0, 1.0]), height * rng.uniform(0, 1))
        bend = ((x + end[0]) / 2, (y + end[1]) / 2 + side * rng.uniform(-0.1, 0.1))
        draw.line([(x, y), bend, end], fill=value, width=max(1, round(side * 0.004)), joint="curve")
    return np.asarray(picture)
