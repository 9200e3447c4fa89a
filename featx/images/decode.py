"""Files of any kind to upright 8-bit sRGB pixels, by rules that have a version.

`DECODE_VERSION` stands in every recipe, since each rule decides pixels:

- JPEG is decoded at the smallest DCT scale (1/8, 1/4, 1/2 or 1) whose shorter side keeps at least twice the
  wanted side.
- EXIF orientation is applied.
- An embedded ICC profile is converted to sRGB (relative colorimetric). A profile that moves no colour of a test
  cube by more than 2 of 255 is taken for sRGB itself and changes nothing; one that cannot be used gives a
  warning, and the pixels count as sRGB.
- CMYK without a profile is converted by Pillow's plain formula; CMYK in a JPEG is read as inverted, as Adobe
  writes it.
- 16-bit grey and colour keep their upper 8 bits: the full range, never stretched to the image's own range.
- Grey, 1-bit and palette images become RGB. Transparent pixels are laid over black, as the surround of a
  dermatoscope or a fundus camera is black.
- Refused: files that hold several pictures (animations, multi-page TIFF), since featx cannot know which one is
  meant; the first picture of a JPEG with further ones (MPO) is the photograph itself and is taken. Also refused:
  32-bit grey, float and Lab pixels (they have no stated range here), images of more than `PIXEL_LIMIT` pixels,
  and anything truncated or damaged.

Decoding is safe in threads and touches no global setting of Pillow or of `warnings`. What Pillow warns of in a
readable image (a damaged EXIF tag, say) reaches Python's warnings; where these are errors, it is an
`ImageError`.
"""

from __future__ import annotations

import io
import struct
import warnings
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFile

from featx.errors import ImageError

__all__ = ["DECODE_VERSION", "FORMATS", "PIXEL_LIMIT", "decode"]

DECODE_VERSION = 1
PIXEL_LIMIT = 2**27
"""Pixels that an image may have: 134,217,728, or 400 MB once decoded."""
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

# Kinds that cameras and clinics write and featx does not read: where their signs stand, what they are, and the way out.
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

# Each module registers its format: once, here, rather than in whichever thread comes first.
for _plugin in ("Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP"):
    import_module(f"PIL.{_plugin}ImagePlugin")


def decode(data: bytes | Path | str, *, side: int | None = None, name: str | None = None) -> Image.Image:
    """Decode an image to upright sRGB.

    Parameters
    ----------
    data : bytes, Path or str
        The file's content, or its path.
    side : int, optional
        Side in pixels that the image will be resized to: a JPEG's shorter side is then decoded to no less than
        twice this. All pixels are decoded if not given.
    name : str, optional
        What to call the image in messages; the path if not given.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, 8 bits a channel.

    Raises
    ------
    ImageError
        If the image is missing, empty, no image, truncated, damaged, too large or of a kind that is refused.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> Image.new("L", (3, 2), 7).save(file, "PNG")
    >>> image = decode(file.getvalue())
    >>> image.mode, image.size, image.getpixel((0, 0))
    ('RGB', (3, 2), (7, 7, 7))
    """
    content = data if isinstance(data, bytes) else _read(Path(data))
    called = name or ("image" if isinstance(data, bytes) else str(data))
    _refuse_lenient_pillow()
    if not content:
        raise ImageError(
            f"{called}: the file is empty; put the image back or take its row out of the manifest"
        )
    try:
        with _open(content, called) as image:
            _check(image, called)
            return _pixels(image, side, called)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # what a damaged file makes Pillow raise is of no fixed type
        raise ImageError(
            f"{called}: truncated or damaged ({_reason(error)}); "
            "put an intact file in its place or take its row out of the manifest"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be read ({error.strerror or error}); "
            "check the path and its permissions or take its row out of the manifest"
        ) from error


def _refuse_lenient_pillow() -> None:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set in this program, which lets half images pass; set it to False"
        )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _open(content: bytes, called: str) -> ImageFile.ImageFile:
    """Read the header by the first format that takes it.

    `Image.open` does the same, but warns of images that featx allows and knows formats that run programs.
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
            "put an intact file in its place or take its row out of the manifest"
        )
    for place, signs, kind, way in _FOREIGN:
        if content.startswith(signs, place):
            raise ImageError(
                f"{called}: {kind}, which featx does not read; make a PNG of it, for instance by `{way}`, "
                "or take its row out of the manifest"
            )
    raise ImageError(
        f"{called}: not an image that featx reads (it begins with {content[:8]!r}; known are {', '.join(FORMATS)}); "
        "convert it to PNG or take its row out of the manifest"
    )


def _check(image: ImageFile.ImageFile, called: str) -> None:
    width, height = image.size
    if width * height > PIXEL_LIMIT:
        raise ImageError(
            f"{called}: {width} x {height} pixels are more than the {PIXEL_LIMIT:,} that featx decodes; "
            "make a smaller copy or take its row out of the manifest"
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ImageError(
            f"{called}: holds {frames} pictures where one is wanted; save the one you mean as a file of its own"
        )
    if image.mode not in _PLAIN | _WITH_ALPHA | _SIXTEEN_BIT | {"CMYK"}:
        raise ImageError(
            f"{called}: pixels of mode {image.mode!r} have no stated range; save it as 8-bit or 16-bit PNG"
        )


def _pixels(image: ImageFile.ImageFile, side: int | None, called: str) -> Image.Image:
    if side is not None and image.format in {"JPEG", "MPO"}:
        image.draft(None, (2 * side, 2 * side))
    image.load()
    profile = image.info.get("icc_profile")
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    plain = _to_srgb(_to_eight_bits(image), profile, called)
    return plain if turn is None else plain.transpose(turn)


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


def _to_srgb(image: Image.Image, profile: bytes | None, called: str) -> Image.Image:
    if not profile:
        return image.convert("RGB")
    # A colour profile on grey pixels is common and meaningful once the pixels are colour.
    for mode in dict.fromkeys((image.mode, "RGB")):
        transform, reason = _transform(profile, mode)
        if transform is not None:
            return ImageCms.applyTransform(image.convert(mode), transform) or image.convert("RGB")
        if reason is None:
            return image.convert("RGB")
    warnings.warn(
        f"{called}: its ICC profile cannot be used ({reason}); its colours count as sRGB", stacklevel=2
    )
    return image.convert("RGB")


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str | None]:
    """Make the transform to sRGB; none and no reason if it changes nothing, none and a reason if it fails."""
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
