"""Decoding: image files to upright 8-bit sRGB pixels, by versioned rules.

`DECODE_VERSION` is part of every recipe, because each of these rules changes pixels:

- JPEG is decoded at the smallest DCT scale (1/8, 1/4, 1/2 or 1) whose shorter side has at least twice the pixels of
  the input size.
- EXIF orientation is applied.
- Colours with an ICC profile are converted to sRGB (relative colorimetric). A profile that changes no colour of a test
  cube by more than 2 of 255 counts as sRGB and is ignored. A profile that cannot be used gives a warning, and the
  colours count as sRGB.
- CMYK without a profile is converted by Pillow's plain formula; CMYK in a JPEG is read as inverted, as Adobe
  writes it.
- Of 16-bit values, the upper 8 bits are kept: the full range, not the range of the image.
- Grey, 1-bit and palette images are converted to RGB. Transparent pixels are put on black, as the surround of
  dermatoscopes and fundus cameras is black.
- Refused: files with several images (animations, multi-page TIFF), since it is unknown which one is meant; of a JPEG
  with further images (MPO), the first is the photograph and is taken. Also refused: 32-bit grey, float and Lab pixels
  (their range is not defined), truncated or damaged files, and files beyond the following limits, which keep decoding
  within 500 MB of memory and a few seconds.
- Limits: `PIXEL_LIMIT` pixels in memory at once; those of JPEG 2000 and WebP count 2.5 times, those of a JPEG of several
  scans 1.5 times, because their decoders need that much more memory. A JPEG of one scan counts at the scale at which it
  is decoded, and has at most `JPEG_LIMIT` pixels; scans times pixels of a JPEG are at most `SCANNED_LIMIT`. Files are
  regular files of at most `FILE_LIMIT` bytes.

Decoding is thread-safe and changes no global setting of Pillow or of `warnings`. Pillow's warnings about readable images
(such as a damaged EXIF tag) become Python warnings; if these are errors, an `ImageError`.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFile

from featx.errors import ImageError
from featx.files import read_regular

__all__ = [
    "DECODE_VERSION",
    "FILE_LIMIT",
    "FORMATS",
    "JPEG_LIMIT",
    "PIXEL_LIMIT",
    "SCANNED_LIMIT",
    "decode_image",
]

DECODE_VERSION = 1
PIXEL_LIMIT = 50_000_000
"""Most pixels in memory at once: 7,000 x 7,000, of 4 bytes each in Pillow and 8 during conversions."""
JPEG_LIMIT = 2**27
"""Most pixels of a JPEG that is decoded at a smaller scale."""
SCANNED_LIMIT = 10**9
"""Most scans times pixels of a JPEG: a progressive JPEG has about ten scans, each over all pixels."""
FILE_LIMIT = 2**28
"""Most bytes of a file: an uncompressed image of `PIXEL_LIMIT` pixels has at most 200 MB."""
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BIT = {"I;16", "I;16L", "I;16B", "I;16N"}
_PLAIN = {"1", "L", "P", "RGB", "RGBX", "YCbCr"}
_WITH_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
_SRGB_TOLERANCE = 2
# Factor of memory that a decoder needs for integers, a second canvas, or the coefficients of all scans.
_LAVISH, _SCANNED = {"JPEG2000": 2.5, "WEBP": 2.5}, 1.5
_STRIP = 2**20
# A JPEG marker that begins a segment or ends the image; scans contain others.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# Formats of cameras and clinics that featx does not read: offset and bytes of their signature, name, and command.
_FOREIGN = (
    (
        4,
        (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"),
        "a HEIC photograph",
        "heif-convert FILE FILE.png (libheif)",
    ),
    (4, (b"ftypavif", b"ftypavis"), "an AVIF photograph", "avifdec FILE FILE.png (libavif)"),
    (128, (b"DICM",), "a DICOM file", "dcm2img --write-png FILE FILE.png (DCMTK)"),
)

# Each module registers its format here, once, instead of in the first thread that decodes.
for _plugin in ("Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP"):
    import_module(f"PIL.{_plugin}ImagePlugin")


def decode_image(
    data: bytes | Path | str, *, side: int | None = None, name: str | None = None
) -> Image.Image:
    """Decode an image to upright sRGB.

    Parameters
    ----------
    data : bytes, Path or str
        The file's content, or its path.
    side : int, optional
        Size in pixels to which the image will be resized: the shorter side of a JPEG is decoded to at least twice this.
        If not given, all pixels are decoded.
    name : str, optional
        Name of the image in messages; the path if not given.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, 8 bits a channel.

    Raises
    ------
    ImageError
        If the file is missing, empty, truncated, damaged, too large, not an image, or of a kind that is refused.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> Image.new("L", (3, 2), 7).save(file, "PNG")
    >>> image = decode_image(file.getvalue())
    >>> image.mode, image.size, image.getpixel((0, 0))
    ('RGB', (3, 2), (7, 7, 7))
    """
    content = data if isinstance(data, bytes) else _read(Path(data))
    called = name or ("image" if isinstance(data, bytes) else str(data))
    _refuse_lenient_pillow()
    if not content:
        raise ImageError(f"{called}: the file is empty; replace it, or remove its row from the manifest")
    if len(content) > FILE_LIMIT:
        raise ImageError(
            f"{called}: the file has {len(content):,} bytes, at most {FILE_LIMIT:,} are read; "
            "make a smaller copy, or remove its row from the manifest"
        )
    try:
        with _open(content, called) as image:
            _check(image, called)
            _scale(image, side, content, called)
            return _pixels(image, called)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow raises errors of any type on damaged files
        raise ImageError(
            f"{called}: truncated or damaged ({_reason(error)}); "
            "replace the file, or remove its row from the manifest"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, FILE_LIMIT)
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be read ({error.strerror or error}); "
            "check the path and its permissions, or remove its row from the manifest"
        ) from error


def _refuse_lenient_pillow() -> None:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True in this program, which allows incomplete images; set it to False"
        )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _open(content: bytes, called: str) -> ImageFile.ImageFile:
    """Read the header by the first format that accepts it.

    `Image.open` does the same, but warns about large images that featx allows, and has formats that run programs.
    """
    reasons = []
    for kind in FORMATS:
        factory, accepts = Image.OPEN[kind]
        if accepts is None or accepts(content[:16]) is not True:
            continue
        try:
            return factory(io.BytesIO(content), "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            reasons.append(f"{kind}: {_reason(error)}")
    if reasons:
        raise ImageError(
            f"{called}: truncated or damaged ({'; '.join(reasons)}); "
            "replace the file, or remove its row from the manifest"
        )
    for place, signs, kind, way in _FOREIGN:
        if content.startswith(signs, place):
            raise ImageError(
                f"{called}: {kind}, which featx does not read; convert it to PNG, for instance by `{way}`, "
                "or remove its row from the manifest"
            )
    raise ImageError(
        f"{called}: not an image that featx reads (its first bytes are {content[:8]!r}; formats: {', '.join(FORMATS)}); "
        "convert it to PNG, or remove its row from the manifest"
    )


def _check(image: ImageFile.ImageFile, called: str) -> None:
    # Look for a second image only: counting the images of a malicious TIFF takes minutes.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ImageError(
            f"{called}: the file has several images, expected one; save the right one as a file of its own"
        )
    if image.mode not in _PLAIN | _WITH_ALPHA | _SIXTEEN_BIT | {"CMYK"}:
        raise ImageError(
            f"{called}: the range of pixels of mode {image.mode!r} is not defined; save it as 8-bit or 16-bit PNG"
        )


def _scale(image: ImageFile.ImageFile, side: int | None, content: bytes, called: str) -> None:
    """Choose the scale at which a JPEG is decoded, and refuse images that need too much memory or time."""
    size, full = image.size, image.size[0] * image.size[1]
    times = _LAVISH.get(str(image.format), 1.0)
    held = times * full
    if image.format in {"JPEG", "MPO"} and full <= JPEG_LIMIT:
        scans = _scans(content)
        if scans * full > SCANNED_LIMIT:
            raise ImageError(
                f"{called}: a JPEG of {scans:,} scans of {full:,} pixels each, at most {SCANNED_LIMIT:,} pixels in all scans are "
                "decoded; save it as baseline JPEG, or remove its row from the manifest"
            )
        if side is not None:
            image.draft(None, (2 * side, 2 * side))
        # Several scans are combined at full size, whatever the scale.
        times = _SCANNED if scans > 1 else 1.0
        held = times * full if scans > 1 else image.size[0] * image.size[1]
    if held > PIXEL_LIMIT:
        raise ImageError(
            f"{called}: {size[0]} x {size[1]} pixels are more than the {int(PIXEL_LIMIT / times):,} that featx "
            f"decodes of this kind of {image.format}; make a smaller copy, or remove its row from the manifest"
        )


def _scans(content: bytes) -> int:
    """Count the scans of the first image of a JPEG, without those of thumbnails in its header."""
    scans, marker = 0, _MARKER.search(content, 2)
    while marker and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        length = int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        marker = _MARKER.search(content, marker.end() + max(length, 2))
    return scans


def _pixels(image: ImageFile.ImageFile, called: str) -> Image.Image:
    image.load()
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    mode = _to_eight_bits(image.crop((0, 0, 1, 1))).mode
    source, transform = _conversion(image.info.get("icc_profile"), mode, called)
    if image.mode == "RGB" and transform is None and not image.has_transparency_data:
        plain: Image.Image = image
    else:
        plain = _in_strips(image, lambda strip: _to_srgb(_to_eight_bits(strip), source, transform))
    return plain if turn is None else plain.transpose(turn)


def _in_strips(image: Image.Image, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert colours some rows at a time, so that a large image is in memory twice instead of five times."""
    width, height = image.size
    rows = max(_STRIP // max(width, 1), 1)
    if rows >= height:
        return change(image)
    whole = Image.new("RGB", image.size)
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        whole.paste(change(image.crop(box)), box)
    return whole


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Reduce any accepted mode to L, RGB or CMYK."""
    if image.mode in _SIXTEEN_BIT:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in _WITH_ALPHA or image.has_transparency_data:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), layered).convert("RGB")
    if image.mode in {"L", "RGB", "CMYK"}:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _to_srgb(image: Image.Image, mode: str, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    plain = None if transform is None else ImageCms.applyTransform(image.convert(mode), transform)
    return plain or image.convert("RGB")


def _conversion(
    profile: bytes | None, mode: str, called: str
) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Find the mode in which colours are converted to sRGB, and the conversion; None if they count as sRGB."""
    if not profile:
        return mode, None
    reason: str | None = None
    # Grey images often have a colour profile, which applies after conversion to RGB.
    for source in dict.fromkeys((mode, "RGB")):
        transform, reason = _transform(profile, source)
        if transform is not None or reason is None:
            return source, transform
    warnings.warn(
        f"{called}: its ICC profile cannot be used ({reason}), so its colours count as sRGB", stacklevel=2
    )
    return mode, None


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str | None]:
    """Make the transform to sRGB; None without a reason if it changes nothing, None with a reason if it fails."""
    try:
        transform = ImageCms.buildTransform(
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return None, _reason(error)
    return (None, None) if mode == "RGB" and _is_identity(transform) else (transform, None)


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(cube), transform))
    return int(np.abs(moved.astype(int) - cube).max()) <= _SRGB_TOLERANCE
