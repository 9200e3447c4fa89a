"""Give bad images of many kinds to the decoder: each must end in pixels or in one line, soon, in less than 500 MB.

Half of a picture that passes for a whole one counts as wrong, as does what takes more memory or ends in another error.
A picture that takes longer than half a minute counts as hung, and its process is killed.

    python -m tests.faults.images [--images FOLDER]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import queue
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from featx.images.decode import PIXEL_LIMIT

from .counts import Counts, table

SECONDS = 30.0
MEGABYTES = 500
REFUSED, PIXELS, EITHER = "refused", "pixels", "either"


class Case(NamedTuple):
    """A file, and what must come of it.

    Attributes
    ----------
    name : str
        The file's name.
    wanted : str
        ``refused``, ``pixels``, or ``either``.
    make : callable or bytes
        What it holds, or what puts it at a path.
    """

    name: str
    wanted: str
    make: bytes | Callable[[Path], object]


def noise(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Draw a picture that cannot be guessed from its half."""
    bands = {"RGB": 3, "RGBA": 4, "CMYK": 4, "LA": 2}.get(mode, 0)
    shape = (size[1], size[0], bands) if bands else (size[1], size[0])
    dtype = np.uint16 if mode == "I;16" else np.float32 if mode == "F" else np.uint8
    values = (np.random.default_rng(0).random(shape) * np.iinfo(np.uint16).max).astype(dtype)
    if mode in ("1", "P"):
        return Image.fromarray(values).convert(mode)
    return (
        Image.fromarray(values)
        if mode in ("L", "I;16", "F")
        else Image.frombytes(mode, size, values.tobytes())
    )


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    """Write an image to bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    """Make a chunk of a PNG."""
    found = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", found)


def png(
    width: int, height: int, body: bytes | None, *extra: bytes, depth: int = 8, colour: int = 2, lace: int = 0
) -> bytes:
    """Make a PNG from its header, further chunks, and its packed rows."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, lace)
    data = b"" if body is None else chunk(b"IDAT", body)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(extra) + data + chunk(b"IEND", b"")


def packed(size: int, value: int = 0) -> bytes:
    """Pack so many equal bytes without holding them."""
    packer, piece = zlib.compressobj(1), bytes([value]) * 2**16
    parts = [packer.compress(piece) for _ in range(size >> 16)]
    return b"".join([*parts, packer.compress(piece[: size & 0xFFFF]), packer.flush()])


def tiff(directories: Sequence[Sequence[tuple[int, int, int, int]]], after: int = 0) -> bytes:
    """Make a little-endian TIFF of directories of (tag, type, count, value); the last one leads to `after`."""
    data, place = bytearray(b"II*\0" + struct.pack("<I", 8)), 8
    for number, rows in enumerate(directories, 1):
        place += 6 + 12 * len(rows)
        data += struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows)
        data += struct.pack("<I", place if number < len(directories) else after)
    return bytes(data) + bytes(4096)


def page(width: int = 16, height: int = 16, **changes: int) -> list[tuple[int, int, int, int]]:
    """Describe a plain grey picture in a TIFF."""
    tags = {
        "width": 256,
        "height": 257,
        "bits": 258,
        "packing": 259,
        "photo": 262,
        "place": 273,
        "rows": 278,
        "bytes": 279,
    }
    values = {
        "width": width,
        "height": height,
        "bits": 8,
        "packing": 1,
        "photo": 1,
        "place": 200,
        "rows": height,
    }
    values |= {"bytes": min(width * height, 2**32 - 1), **changes}
    return [(tags[name], 4, 1, values[name]) for name in tags]


def segment(marker: int, data: bytes) -> bytes:
    """Make a segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def many_scans(count: int) -> bytes:
    """Make a progressive JPEG that repeats its last scan."""
    data = written(noise("L", (256, 256)), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def with_header(data: bytes, *segments: bytes) -> bytes:
    """Put segments behind the beginning of a JPEG."""
    return data[:2] + b"".join(segments) + data[2:]


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Change the size that a baseline JPEG states."""
    place = data.find(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def exif(*rows: tuple[int, int, int, int], after: int = 0) -> bytes:
    """Make an EXIF segment of one directory."""
    return segment(0xE1, b"Exif\0\0" + tiff([list(rows)], after))


_WRITTEN: tuple[tuple[str, str, str, dict[str, object]], ...] = (
    ("baseline.jpg", "RGB", "JPEG", {}),
    ("progressive.jpg", "RGB", "JPEG", {"progressive": True}),
    ("colour.png", "RGB", "PNG", {}),
    ("plain.tif", "RGB", "TIFF", {}),
    ("lzw.tif", "RGB", "TIFF", {"compression": "tiff_lzw"}),
    ("deflate.tif", "RGB", "TIFF", {"compression": "tiff_adobe_deflate"}),
    ("colour.bmp", "RGB", "BMP", {}),
    ("palette.gif", "P", "GIF", {}),
    ("colour.webp", "RGB", "WEBP", {"lossless": True}),
    ("colour.jp2", "RGB", "JPEG2000", {}),
    ("colour.ppm", "RGB", "PPM", {}),
)


def damaged() -> Iterator[Case]:
    """Damage a sound file of each kind: cut it, flip its bits, lengthen it, call it by another kind's ending."""
    for name, mode, kind, options in _WRITTEN:
        data = written(noise(mode), kind, **options)
        yield Case(f"cut-in-half-{name}", EITHER if kind == "JPEG2000" else REFUSED, data[: len(data) // 2])
        yield Case(f"cut-at-20-{name}", REFUSED, data[:20])
        yield Case(f"tail-of-junk-{name}", PIXELS, data + random.Random(0).randbytes(1000))
        yield Case(f"named-wrongly-{name}.dcm", PIXELS, data)
        middle = bytearray(data)
        middle[len(data) // 2] ^= 0x55
        yield Case(f"flipped-middle-{name}", EITHER, bytes(middle))
        zeros = bytearray(data)
        zeros[len(data) // 3 : len(data) // 3 + 512] = bytes(512)
        yield Case(f"zeros-within-{name}", EITHER, bytes(zeros))


def no_images() -> Iterator[Case]:
    """Make files that are no images, or of kinds that are not read."""
    yield Case("empty.jpg", REFUSED, b"")
    yield Case("one-zero.jpg", REFUSED, b"\0")
    yield Case("zeros.png", REFUSED, bytes(2**20))
    yield Case("junk.png", REFUSED, random.Random(1).randbytes(2**20))
    yield Case("page.html.jpg", REFUSED, b"<!doctype html><html><body>404</body></html>")
    yield Case("script.jpg", REFUSED, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n")
    yield Case("book.pdf.jpg", REFUSED, b"%PDF-1.7\n1 0 obj\n")
    yield Case("archive.jpg", REFUSED, b"PK\x03\x04" + bytes(100))
    yield Case("phone.heic", REFUSED, b"\0\0\0\x18ftypheic" + bytes(100))
    yield Case("photo.avif", REFUSED, b"\0\0\0\x1cftypavif" + bytes(100))
    yield Case("scan.dcm", REFUSED, bytes(128) + b"DICM" + bytes(100))
    yield Case("picture.svg.png", REFUSED, b"<svg xmlns='http://www.w3.org/2000/svg'/>")


def pngs() -> Iterator[Case]:
    """Make PNG files that break the format, or claim too much."""
    rows = zlib.compress(b"".join(b"\0" + bytes(48) for _ in range(16)))
    side = int(PIXEL_LIMIT**0.5)
    yield Case(
        "crc-of-header.png", REFUSED, png(16, 16, rows).replace(struct.pack(">I", 16), b"\0\0\0\x11", 1)
    )
    yield Case("crc-of-pixels.png", PIXELS, png(16, 16, None, chunk(b"IDAT", rows, 1)))
    yield Case("no-pixels.png", REFUSED, png(16, 16, None))
    yield Case("no-width.png", REFUSED, png(0, 16, rows))
    yield Case("largest-size.png", REFUSED, png(2**31 - 1, 2**31 - 1, rows))
    yield Case("above-the-limit.png", REFUSED, png(side + 1, side + 1, rows))
    yield Case("short-of-pixels.png", REFUSED, png(side, side, rows))
    yield Case("filter-of-no-kind.png", EITHER, png(16, 16, zlib.compress((b"\x09" + bytes(48)) * 16)))
    yield Case("laced-short.png", REFUSED, png(64, 64, rows, lace=1))
    yield Case("no-palette.png", EITHER, png(16, 16, zlib.compress(bytes(17 * 16)), colour=3))
    yield Case(
        "outside-palette.png",
        EITHER,
        png(16, 16, zlib.compress((b"\0" + b"\xff" * 16) * 16), chunk(b"PLTE", bytes(6)), colour=3),
    )
    yield Case("depth-of-no-kind.png", REFUSED, png(16, 16, rows, depth=7))
    yield Case(
        "profile-of-junk.png",
        PIXELS,
        png(16, 16, rows, chunk(b"iCCP", b"x\0\0" + zlib.compress(b"junk" * 99))),
    )
    yield Case("transparency-too-long.png", EITHER, png(16, 16, rows, chunk(b"tRNS", bytes(99))))
    yield Case("ten-thousand-chunks.png", PIXELS, png(16, 16, rows, *[chunk(b"teSt", b"x")] * 10_000))
    yield Case(
        "animated.png",
        REFUSED,
        written(noise(), "PNG", save_all=True, append_images=[noise("L").convert("RGB")]),
    )


def jpegs() -> Iterator[Case]:
    """Make JPEG files with bad headers, profiles, sizes and scans."""
    data = written(noise(), "JPEG")
    # A JPEG has no checksums: one that ends early at a mark of its end cannot be told from a whole one.
    yield Case("no-end.jpg", EITHER, data[:-2])
    yield Case("largest-size.jpg", REFUSED, with_size(data, 65535, 65535))
    yield Case("no-height.jpg", REFUSED, with_size(data, 64, 0))
    yield Case("taller-than-its-pixels.jpg", EITHER, with_size(data, 64, 4096))
    yield Case("cut-in-a-late-scan.jpg", EITHER, written(noise(), "JPEG", progressive=True)[:-40])
    yield Case("exif-of-junk.jpg", PIXELS, with_header(data, segment(0xE1, b"Exif\0\0" + b"junk" * 50)))
    yield Case("turned-by-nothing.jpg", PIXELS, with_header(data, exif((0x0112, 3, 1, 99))))
    yield Case("exif-leads-to-itself.jpg", PIXELS, with_header(data, exif((0x8769, 4, 1, 8), after=8)))
    yield Case("exif-of-a-billion.jpg", PIXELS, with_header(data, exif((0x010E, 2, 10**9, 8))))
    yield Case("profile-of-junk.jpg", PIXELS, written(noise(), "JPEG", icc_profile=b"junk" * 99))
    yield Case(
        "profile-without-its-parts.jpg",
        EITHER,
        with_header(data, segment(0xE2, b"ICC_PROFILE\0\x01\xff" + bytes(60))),
    )
    yield Case("inks.jpg", PIXELS, written(noise("CMYK"), "JPEG"))
    yield Case("grey.jpg", PIXELS, written(noise("L"), "JPEG"))
    yield Case("no-tables.jpg", EITHER, data.replace(b"\xff\xc4", b"\xff\xfe"))
    yield Case("arithmetic.jpg", EITHER, data.replace(b"\xff\xc0", b"\xff\xc9"))
    yield Case("lossless.jpg", REFUSED, data.replace(b"\xff\xc0", b"\xff\xc3"))
    yield Case("comments.jpg", PIXELS, with_header(data, *[segment(0xFE, b"x")] * 20_000))


def tiffs() -> Iterator[Case]:
    """Make TIFF files with bad directories, and of kinds of pixels that are and are not read."""
    yield Case("32001-directories.tif", REFUSED, tiff([page()] * 32_001))
    yield Case("directory-leads-to-itself.tif", EITHER, tiff([page()], after=8))
    yield Case("directory-outside.tif", EITHER, tiff([page()], after=2**31))
    yield Case("no-directory.tif", REFUSED, b"II*\0" + struct.pack("<I", 2**31))
    yield Case("largest-size.tif", REFUSED, tiff([page(2**31, 2**31)]))
    yield Case("pixels-outside.tif", REFUSED, tiff([page(place=2**31)]))
    yield Case("no-rows.tif", EITHER, tiff([page(rows=0)]))
    yield Case("packing-of-no-kind.tif", REFUSED, tiff([page(packing=4242)]))
    yield Case("packed-junk.tif", REFUSED, tiff([page(packing=8)]))
    yield Case(
        "billion-strips.tif", EITHER, tiff([[row if row[0] != 273 else (273, 4, 10**9, 8) for row in page()]])
    )
    yield Case(
        "tile-of-4-gigabytes.tif",
        EITHER,
        tiff(
            [
                [
                    *page(packing=8)[:5],
                    (322, 4, 1, 65536),
                    (323, 4, 1, 65536),
                    (324, 4, 1, 200),
                    (325, 4, 1, 256),
                ]
            ]
        ),
    )
    yield Case("64-bit.tif", REFUSED, tiff([page(bits=64)]))
    yield Case("several.tif", REFUSED, written(noise(), "TIFF", save_all=True, append_images=[noise()]))
    yield Case("float.tif", REFUSED, written(noise("F"), "TIFF"))
    yield Case("16-bit.tif", PIXELS, written(noise("I;16"), "TIFF"))
    yield Case("1-bit.tif", PIXELS, written(noise("1"), "TIFF", compression="group4"))
    yield Case("inks.tif", PIXELS, written(noise("CMYK"), "TIFF"))
    yield Case("lab.tif", REFUSED, written(noise().convert("LAB"), "TIFF"))


def others() -> Iterator[Case]:
    """Make bad GIF, WebP, BMP, PPM and JPEG 2000 files, and sound ones of odd kinds."""
    gif, bmp, jp2 = written(noise("P"), "GIF"), written(noise(), "BMP"), written(noise(), "JPEG2000")
    frames = [Image.new("P", (64, 48)), noise("P")]
    yield Case("animated.gif", REFUSED, written(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    yield Case(
        "animated.webp",
        REFUSED,
        written(noise(), "WEBP", save_all=True, append_images=[noise("L").convert("RGB")]),
    )
    yield Case("largest-canvas.gif", REFUSED, gif[:6] + b"\xff\xff\xff\xff" + gif[10:])
    yield Case("no-frame.gif", REFUSED, gif[:13] + bytes(768) + b";")
    yield Case("largest-size.bmp", REFUSED, bmp[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bmp[26:])
    yield Case("upside-down.bmp", EITHER, bmp[:22] + struct.pack("<i", -48) + bmp[26:])
    yield Case("run-length-junk.bmp", EITHER, bmp[:28] + struct.pack("<HI", 8, 1) + bmp[34:])
    yield Case("largest-size.ppm", REFUSED, b"P6 999999999 999999999 255\n" + bytes(99))
    yield Case("no-range.ppm", REFUSED, b"P6 4 4 0\n" + bytes(48))
    yield Case("letters.ppm", REFUSED, b"P3 4 4 255\n" + b"x " * 48)
    yield Case("long-number.ppm", REFUSED, b"P6 " + b"9" * 10**6 + b" 4 255\n")
    place = jp2.find(b"ihdr")
    yield Case("largest-size.jp2", REFUSED, jp2[: place + 4] + b"\xff" * 8 + jp2[place + 12 :])
    yield Case("no-code.jp2", REFUSED, jp2[: jp2.find(b"jp2c")])
    yield Case("transparent.png", PIXELS, written(noise("RGBA"), "PNG"))
    yield Case("transparent-grey.png", PIXELS, written(noise("LA"), "PNG"))
    yield Case("transparent-palette.png", PIXELS, written(noise("P"), "PNG", transparency=3))
    yield Case("1-bit.png", PIXELS, written(noise("1"), "PNG"))
    yield Case("16-bit.png", PIXELS, written(noise("I;16"), "PNG"))


def places() -> Iterator[Case]:
    """Put things that are no files under names of images."""
    yield Case("pipe.jpg", REFUSED, os.mkfifo)
    yield Case("folder.jpg", REFUSED, Path.mkdir)
    yield Case("zero-device.jpg", REFUSED, lambda path: path.symlink_to("/dev/zero"))
    yield Case("random-device.jpg", REFUSED, lambda path: path.symlink_to("/dev/urandom"))
    yield Case("terminal.jpg", REFUSED, lambda path: path.symlink_to("/dev/tty"))
    yield Case("link-to-itself.jpg", REFUSED, lambda path: path.symlink_to(path))
    yield Case("link-to-nothing.jpg", REFUSED, lambda path: path.symlink_to("gone"))
    yield Case("socket.jpg", REFUSED, _socket)
    yield Case("terabyte.jpg", REFUSED, _terabyte)
    yield Case("memory.jpg", REFUSED, lambda path: path.symlink_to("/proc/self/mem"))


def large() -> Iterator[Case]:
    """Make images as large as they may be, and small files that would unpack to a gigabyte or take minutes."""
    rows = zlib.compress(b"".join(b"\0" + bytes(48) for _ in range(16)))
    side = int(PIXEL_LIMIT**0.5)
    yield Case(
        "at-the-limit.png",
        PIXELS,
        lambda path: path.write_bytes(png(side, side, packed((3 * side + 1) * side))),
    )
    yield Case(
        "at-the-limit-clear.png",
        PIXELS,
        lambda path: path.write_bytes(png(side, side, packed((4 * side + 1) * side), colour=6)),
    )
    yield Case(
        "at-the-limit-16-bit.png",
        PIXELS,
        lambda path: path.write_bytes(png(side, side, packed((2 * side + 1) * side), depth=16, colour=0)),
    )
    yield Case("more-than-its-pixels.png", EITHER, lambda path: path.write_bytes(png(16, 16, packed(2**30))))
    yield Case(
        "profile-of-a-gigabyte.png",
        EITHER,
        lambda path: path.write_bytes(png(16, 16, rows, chunk(b"iCCP", b"x\0\0" + packed(2**30)))),
    )
    yield Case(
        "text-of-a-gigabyte.png",
        EITHER,
        lambda path: path.write_bytes(png(16, 16, rows, chunk(b"zTXt", b"x\0\0" + packed(2**30)))),
    )
    yield Case("ten-thousand-scans.jpg", PIXELS, many_scans(10_000))
    yield Case("too-many-scans.jpg", REFUSED, many_scans(20_000))


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        # A socket's path may have 107 bytes, less than that of a folder of tests.
        here = os.open(path.parent, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def _terabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


MAKERS = (damaged, no_images, pngs, jpegs, tiffs, others, places)
"""What is made and decoded in seconds."""


def make(folder: Path, makers: Iterable[Callable[[], Iterator[Case]]]) -> dict[Path, Case]:
    """Put cases into a folder."""
    found = {}
    for case in (case for maker in makers for case in maker()):
        path = folder / case.name
        path.write_bytes(case.make) if isinstance(case.make, bytes) else case.make(path)
        found[path] = case
    return found


_DECODE = """
import json, sys, warnings
from pathlib import Path
from featx.errors import ImageError
from featx.images.decode import decode_image
warnings.simplefilter("ignore")
for line in sys.stdin:
    Path("/proc/self/clear_refs").write_text("5")
    try:
        image = decode_image(Path(json.loads(line)))
        image.getpixel((image.width - 1, image.height - 1))
        came, said = "pixels", f"{image.width} x {image.height}"
        del image
    except ImageError as error:
        came, said = "refused", str(error)
    except BaseException as error:
        came, said = "raised", f"{type(error).__name__}: {error}"
    status = Path("/proc/self/status").read_text()
    peak = int(next(row.split()[1] for row in status.splitlines() if row.startswith("VmHWM")))
    print(json.dumps([came, said, peak / 1000]), flush=True)
"""


class Decoder:
    """A process that decodes one file after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _DECODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def decode_image(self, path: Path) -> tuple[str, str, float] | None:
        """Decode a file: what came of it, what was said, and the peak of memory in MB; None if it takes too long."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(str(path)) + "\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=SECONDS)
        except queue.Empty:
            return None
        return tuple(json.loads(line)) if line else ("crashed", f"exit code {self._process.wait()}", 0.0)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def judge(files: Iterable[tuple[Path, str]], kind: str) -> Counts:
    """Decode files, each with what is wanted of it."""
    counts, decoder = Counts(kind), Decoder()
    for path, wanted in files:
        found = decoder.decode_image(path)
        if found is None:
            counts.hung.append(path.name)
        elif text := _wrong(*found, wanted):
            counts.wrong.append(f"{path.name}: {text}")
        else:
            counts.survived += 1
        if found is None or found[0] == "crashed":
            decoder.close()
            decoder = Decoder()
    decoder.close()
    return counts


def _wrong(came: str, said: str, megabytes: float, wanted: str) -> str:
    if came not in (REFUSED, PIXELS) or (wanted != EITHER and came != wanted):
        return f"{came} where {wanted} was wanted ({said[:200]})"
    if came == REFUSED and ("\n" in said or not said.strip()):
        return f"refused in more than one line ({said[:200]!r})"
    return f"took {megabytes:.0f} MB" if megabytes > MEGABYTES else ""


def main() -> int:
    """Decode all bad images, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=Path, help="folder of further images, such as an image library's tests"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = [
            judge(
                [(path, case.wanted) for path, case in make(Path(folder), (*MAKERS, large)).items()],
                "bad images",
            )
        ]
    if given.images is not None:
        files = sorted(path for path in given.images.rglob("*") if not path.is_dir())
        found.append(judge([(path, EITHER) for path in files], f"files of {given.images.name}"))
    print(table(found))
    return int(any(one.bad for one in found))


if __name__ == "__main__":
    sys.exit(main())
