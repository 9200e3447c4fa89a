from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from featx.data.check import check_manifest
from featx.data.contact_sheet import write_check_page, write_preparation_page
from featx.data.manifest import Manifest, read_manifest
from featx.data.synthetic import draw_dermoscopy
from featx.errors import ConfigError, ManifestError


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest(draw_dermoscopy(tmp_path / "skin", images=6, size=32))


def test_a_page_of_a_check_has_findings_samples_and_near_duplicates(
    manifest: Manifest, tmp_path: Path
) -> None:
    folder = tmp_path / "skin" / "images"
    with Image.open(folder / "derm00001.jpg") as image:
        image.resize((28, 28)).save(folder / "near.png")
    (folder / "derm00002.jpg").write_bytes(b"broken")
    with (tmp_path / "skin" / "manifest.csv").open("a") as file:
        file.write("images/near.png,near,<script>,lesionX,low\n")
    found = read_manifest(tmp_path / "skin", check_files=False)
    write_check_page(tmp_path / "check.html", found, check_manifest(found), samples=1)
    page = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "Error: 1 images cannot be read" in page
    assert "Warning: 1 pairs of near duplicates" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "http" not in page
    assert 'alt="near: &lt;script&gt;"' in page
    assert "the first 1 of 1 pairs" in page


def test_a_page_of_preparations_shows_chosen_images_always_the_same(
    manifest: Manifest, tmp_path: Path
) -> None:
    def page(**options: object) -> str:
        write_preparation_page(tmp_path / "p.html", manifest, **options)  # type: ignore[arg-type]
        return (tmp_path / "p.html").read_text(encoding="utf-8")

    assert page(images=2).count("<figure>") == 2 * (1 + 2 * 4)
    assert page(images=2, seed=1) == page(images=2, seed=1) != page(images=2, seed=2)
    one = page(ids=["derm00003"], preparations=["retina"])
    assert "derm00003" in one
    assert one.count("<figure>") == 3


def test_unknown_images_and_preparations_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest.csv: no image gone; give ids of this manifest"):
        write_preparation_page(tmp_path / "p.html", manifest, ids=["gone"])
    with pytest.raises(ConfigError, match="one of resize, center-square, atlas, retina"):
        write_preparation_page(tmp_path / "p.html", manifest, preparations=["crop"])
