"""Every odd kind of image file, written here, by the rules of `featx.images.decode`."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from featx.errors import ImageError
from featx.images import decode as rules
from featx.images.decode import JPEG_LIMIT, PIXEL_LIMIT, decode_image


def smooth(height: int = 40, width: int = 60) -> np.ndarray:
    down, across = np.mgrid[0:height, 0:width]
    return np.stack([4 * across % 256, 6 * down % 256, np.full_like(down, 90)], axis=-1).astype(np.uint8)


def written(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    pixels = smooth()
    decoded = decode_image(written(Image.fromarray(pixels), kind), side=4)
    assert decoded.mode == "RGB"
    assert np.array_equal(np.asarray(decoded), pixels)


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("JPEG2000", {})]
)
def test_other_formats_stay_close(kind: str, options: dict[str, Any]) -> None:
    pixels = np.full((32, 48, 3), (200, 120, 40), np.uint8)
    decoded = np.asarray(decode_image(written(Image.fromarray(pixels), kind, **options))).astype(int)
    assert np.abs(decoded - pixels).max() <= 2


@pytest.mark.parametrize(
    ("side", "size"),
    [(100, (800, 640)), (160, (400, 320)), (161, (800, 640)), (80, (200, 160)), (20, (100, 80))],
)
def test_jpeg_is_decoded_at_twice_the_side_or_more(side: int, size: tuple[int, int]) -> None:
    data = written(Image.fromarray(smooth(640, 800)), "JPEG")
    expected = {100: (400, 320)}.get(side, size)
    decoded = decode_image(data, side=side)
    assert decoded.size == expected
    assert min(decoded.size) >= 2 * side


def test_jpeg_without_side_is_decoded_whole() -> None:
    assert decode_image(written(Image.fromarray(smooth(640, 800)), "JPEG")).size == (800, 640)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int, kind: str) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = (255, 0, 0)
    upright[16:, 32:] = (0, 0, 255)
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    decoded = np.asarray(decode_image(written(stored, kind, exif=exif))).astype(int)
    assert decoded.shape == upright.shape
    assert np.abs(decoded - upright).mean() < 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_upper_byte(kind: str) -> None:
    values = np.array([[0, 255, 256, 4095, 65535]], np.uint16)
    decoded = np.asarray(decode_image(written(Image.fromarray(values), kind)))
    assert decoded[0, :, 0].tolist() == [0, 0, 1, 15, 255]


def test_16_bit_colour_keeps_its_upper_byte() -> None:
    row = struct.pack(">6H", 0x12FF, 0x3400, 0x5680, 65535, 255, 256)
    decoded = np.asarray(decode_image(png(2, 1, 16, 2, b"\0" + row)))
    assert decoded[0].tolist() == [[0x12, 0x34, 0x56], [255, 0, 1]]


def test_one_bit_becomes_black_and_white() -> None:
    bits = np.array([[True, False, True]])
    assert np.asarray(decode_image(written(Image.fromarray(bits), "PNG")))[0].tolist() == [
        [255] * 3,
        [0] * 3,
        [255] * 3,
    ]


def test_palette() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert np.asarray(decode_image(written(image, kind)))[0].tolist() == [[10, 20, 30], [200, 100, 50]]


def test_palette_with_transparency_is_laid_over_black() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    for transparency in (1, bytes([255, 0])):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            decoded = decode_image(written(image, "PNG", transparency=transparency))
        assert np.asarray(decoded)[0].tolist() == [[10, 20, 30], [0, 0, 0]]


@pytest.mark.parametrize(
    ("mode", "pixel", "wanted"), [("RGBA", (200, 100, 50, 128), [100, 50, 25]), ("LA", (200, 0), [0, 0, 0])]
)
def test_alpha_is_laid_over_black(mode: str, pixel: tuple[int, ...], wanted: list[int]) -> None:
    decoded = np.asarray(decode_image(written(Image.new(mode, (2, 2), pixel), "PNG")))
    assert np.abs(decoded[0, 0].astype(int) - wanted).max() <= 1


def test_cmyk_jpeg_is_read_as_adobe_writes_it() -> None:
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    decoded = np.asarray(decode_image(written(image, "JPEG", quality=95))).astype(int)
    assert np.abs(decoded[8, 8] - [0, 255, 255]).max() <= 3


def test_cmyk_tiff() -> None:
    decoded = np.asarray(decode_image(written(Image.new("CMYK", (4, 4), (0, 255, 0, 0)), "TIFF")))
    assert decoded[0, 0].tolist() == [255, 0, 255]


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries have changed places."""
    profile = bytearray(srgb_profile())
    count = struct.unpack(">I", profile[128:132])[0]
    for index in range(count):
        begin = 132 + 12 * index
        name = bytes(profile[begin : begin + 4])
        profile[begin : begin + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(name, name)
    return bytes(profile)


def test_srgb_profile_changes_nothing() -> None:
    pixels = smooth()
    data = written(Image.fromarray(pixels), "PNG", icc_profile=srgb_profile())
    assert np.array_equal(np.asarray(decode_image(data)), pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_other_profile_is_converted(mode: str) -> None:
    image = Image.new("RGB", (4, 4), (255, 0, 0)).convert(mode)
    decoded = np.asarray(decode_image(written(image, "PNG", icc_profile=swapped_profile())))
    assert np.abs(decoded[0, 0].astype(int) - [0, 255, 0]).max() <= 3


def test_colour_profile_on_grey_pixels() -> None:
    decoded = np.asarray(
        decode_image(written(Image.new("L", (4, 4), 99), "PNG", icc_profile=swapped_profile()))
    )
    assert np.ptp(decoded[0, 0].astype(int)) <= 3
    assert abs(int(decoded[0, 0, 0]) - 99) <= 3


def test_useless_profile_warns_and_names_the_image() -> None:
    pixels = smooth()
    data = written(Image.fromarray(pixels), "PNG", icc_profile=b"no profile at all")
    with pytest.warns(UserWarning, match=r"mole\.png: its ICC profile cannot be used"):
        decoded = decode_image(data, name="mole.png")
    assert np.array_equal(np.asarray(decoded), pixels)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_pictures_are_refused(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    data = written(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="the file has several images, expected one"):
        decode_image(data)


def test_first_picture_of_a_camera_jpeg_with_several() -> None:
    first, second = Image.new("RGB", (64, 64), (250, 0, 0)), Image.new("RGB", (32, 32), (0, 0, 250))
    decoded = decode_image(written(first, "MPO", save_all=True, append_images=[second]), side=8)
    assert decoded.size == (16, 16)
    assert decoded.getpixel((8, 8))[0] > 200


@pytest.mark.parametrize("array", [np.ones((2, 2), np.float32), np.ones((2, 2), np.int32)])
def test_pixels_without_a_stated_range_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="is not defined; save it as 8-bit or 16-bit PNG"):
        decode_image(written(Image.fromarray(array), "TIFF"))


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    side = int(PIXEL_LIMIT**0.5) + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=f"^scan.png: {side} x {side} pixels are more than"):
            decode_image(png(side, side, 8, 2, b""), name="scan.png")


def test_an_image_of_a_hundred_megapixels_is_no_reason_to_warn() -> None:
    data = written(Image.new("L", (9600, 9600)), "JPEG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(data, side=100).size == (1200, 1200)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"%PDF-1.7 and so on, which is no image", "not an image that featx reads"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0",
            "a HEIC photograph, .*convert it to PNG, for instance by `heif-convert",
        ),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF photograph, .*by `avifdec"),
        (b"\0" * 128 + b"DICM\x02\0", "a DICOM file, .*by `dcm2img"),
        (b"\xff\xd8\xff", "truncated or damaged"),
        (b"\x89PNG\r\n\x1a\n", "truncated or damaged"),
        (b"GIF89a", "truncated or damaged"),
        (b"II*\0", "truncated or damaged"),
    ],
)
def test_what_is_no_image(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mole.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        decode_image(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000"])
def test_truncated(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = written(Image.fromarray(noise), kind)
    with pytest.raises(ImageError, match=r"^mole: truncated or damaged .*replace the file"):
        decode_image(data[: len(data) // 2], name="mole")


def test_truncated_progressive_jpeg() -> None:
    data = written(Image.fromarray(smooth(200, 300)), "JPEG", progressive=True)
    with pytest.raises(ImageError, match="truncated or damaged"):
        decode_image(data[: len(data) // 2], side=20)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        ImageError, match=r"gone\.png: cannot be read \(No such file or directory\); check the path"
    ):
        decode_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="it is a folder"):
        decode_image(tmp_path)


def test_a_lenient_pillow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageError, match="LOAD_TRUNCATED_IMAGES is True"):
        decode_image(written(Image.new("RGB", (2, 2)), "PNG"))


def truncated_exif() -> bytes:
    """A JPEG with an EXIF entry that points beyond the EXIF data."""
    entry = struct.pack("<HHII", 0x010E, 2, 4000, 60000) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entry + struct.pack("<I", 0)
    return written(Image.fromarray(smooth()), "JPEG", exif=exif)


def test_damaged_exif_warns_and_the_rest_of_it_counts() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decoded = decode_image(truncated_exif())
    # Earlier versions of Pillow read nothing behind the damaged entry.
    assert decoded.size == ((40, 60) if int(PIL.__version__.split(".")[0]) >= 13 else (60, 40))
    assert caught


def test_damaged_exif_is_an_image_error_where_warnings_are_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="truncated or damaged"):
            decode_image(truncated_exif())


@pytest.mark.filterwarnings("ignore:Tag data larger")
def test_threads_leave_the_warning_filters_alone() -> None:
    files = [
        truncated_exif(),
        written(Image.new("CMYK", (64, 64)), "JPEG"),
        written(Image.new("P", (64, 64)), "GIF"),
        written(Image.fromarray(smooth(300, 300)), "PNG", icc_profile=swapped_profile()),
    ]
    wanted = [np.asarray(decode_image(file)) for file in files]
    before = list(warnings.filters)
    wrong: list[int] = []

    def work() -> None:
        for turn in range(40):
            if not np.array_equal(np.asarray(decode_image(files[turn % 4])), wanted[turn % 4]):
                wrong.append(turn)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert warnings.filters == before


@given(st.sampled_from(["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM"]), st.data())
def test_damage_of_any_kind_gives_an_image_or_an_image_error(kind: str, data: st.DataObject) -> None:
    content = bytearray(written(Image.fromarray(smooth(12, 17)), kind))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(ImageError):
            assert decode_image(bytes(content), side=4).mode == "RGB"


@pytest.mark.real
def test_draft_mode_is_close_to_full_decoding_on_photographs(real_data: Path) -> None:
    path = sorted((real_data / "bigjpg").glob("*.jpg"))[0]
    whole = decode_image(path).resize((224, 224), Image.Resampling.BILINEAR)
    draft = decode_image(path, side=224).resize((224, 224), Image.Resampling.BILINEAR)
    apart = np.abs(np.asarray(whole).astype(int) - np.asarray(draft))
    assert apart.mean() < 0.5


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("LA", "PNG", {}),
        ("P", "PNG", {"transparency": 3}),
        ("P", "GIF", {}),
        ("L", "PNG", {"transparency": 90}),
        ("1", "PNG", {}),
        ("I;16", "PNG", {}),
        ("CMYK", "TIFF", {}),
        ("RGB", "PNG", {"icc_profile": swapped_profile()}),
    ],
)
def test_strips_give_the_pixels_of_the_whole(
    mode: str, kind: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = (
        Image.fromarray(smooth()[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(smooth())
    )
    data = written(image if mode == "I;16" else image.convert(mode), kind, **options)
    whole = np.asarray(decode_image(data))
    monkeypatch.setattr(rules, "_STRIP", 7 * 60 + 1)
    assert np.array_equal(np.asarray(decode_image(data)), whole)


def test_a_tiff_of_many_directories_is_refused_without_counting_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting the 32,001 directories of a hostile file took most of a minute."""
    data = written(Image.new("L", (8, 8)), "TIFF", save_all=True, append_images=[Image.new("L", (8, 8))])

    def count(image: Image.Image) -> int:
        raise AssertionError("counted")

    monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.n_frames", property(count))
    with pytest.raises(ImageError, match="the file has several images"):
        decode_image(data)


def _stated(data: bytes, width: int, height: int) -> bytes:
    """Change the size that a JPEG states in its frame header."""
    place = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def test_a_jpeg_counts_at_the_scale_that_it_is_decoded_at() -> None:
    data = _stated(written(Image.new("L", (64, 64)), "JPEG"), 11_000, 11_000)
    with pytest.raises(ImageError, match="11000 x 11000 pixels are more than the 50,000,000 that"):
        decode_image(data)
    # Within the bound at its scale, this one is decoded as far as it goes.
    assert decode_image(data, side=100).size == (1375, 1375)
    with pytest.raises(ImageError, match="12000 x 12000 pixels are more than"):
        decode_image(_stated(data, 12_000, 12_000), side=100)
    assert 11_000**2 < JPEG_LIMIT < 12_000**2


def test_a_jpeg_of_several_scans_counts_whole_and_half_more() -> None:
    data = _stated(written(Image.fromarray(smooth()), "JPEG", progressive=True), 6000, 6000)
    with pytest.raises(ImageError, match="6000 x 6000 pixels are more than the 33,333,333 that"):
        decode_image(data, side=100)


def test_scans_are_counted_in_the_picture_alone() -> None:
    thumbnail = written(Image.new("RGB", (16, 16)), "JPEG", progressive=True)
    exif = Image.Exif()
    exif[0x010E] = "x"
    data = written(Image.fromarray(smooth()), "JPEG", exif=exif.tobytes() + thumbnail)
    assert rules._scans(data) == 1
    assert rules._scans(written(Image.fromarray(smooth()), "JPEG", progressive=True)) > 5
    assert rules._scans(data + thumbnail) == 1


def test_too_many_scans() -> None:
    data = written(Image.fromarray(smooth()), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    with pytest.raises(ImageError, match=r"a JPEG of 5\d\d,\d\d\d scans of 2,400 pixels each"):
        decode_image(data[:-2] + data[last:-2] * 500_000 + data[-2:])


def test_a_file_of_more_bytes_than_are_read(tmp_path: Path) -> None:
    with (tmp_path / "scan.tif").open("wb") as file:
        file.truncate(rules.FILE_LIMIT + 1)
    with pytest.raises(ImageError, match=r"scan\.tif: cannot be read \(it has 268,435,457 bytes, more than"):
        decode_image(tmp_path / "scan.tif")
