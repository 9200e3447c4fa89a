"""
Finding faults of a data set
============================

`check_manifest` looks for what spoils results: unreadable files, duplicates, near duplicates in different splits, missing
groups. Here two faults are made on purpose.
"""

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image
from synthetic_skin import draw, workspace

import featx
from featx.data import check_manifest

manifest, work = draw(), workspace()
folder = manifest.parent
table = pd.read_csv(manifest)

# %%
# An exact copy under another label, and a brighter copy of another image that counts as a new patient.

copy, brighter = "images/copy.png", "images/brighter.png"
(folder / copy).write_bytes((folder / table.loc[0, "image"]).read_bytes())
Image.open(folder / table.loc[6, "image"]).point(lambda value: min(255, int(1.1 * value))).save(
    folder / brighter
)
faulty = pd.concat(
    [
        table,
        pd.DataFrame(
            {
                "image": [copy, brighter],
                "label": ["nevus", "melanoma"],
                "group": ["clinic-90", "clinic-91"],
                "site": "arm",
            }
        ),
    ]
)
faulty.to_csv(folder / "faulty.csv", index=False)
found = check_manifest(featx.read_manifest(folder / "faulty.csv", check_groups=False), cache=work / "cache")
for finding in found.findings:
    print(f"{finding.severity}: {finding.text}")

# %%
# The near duplicates side by side. Rotated or cropped copies are not found.

pair = found.near[0]
print(f"{pair.first} and {pair.second}: {pair.distance} of 256 bits differ")
fig, axes = plt.subplots(1, 2, figsize=(4, 2.2))
for ax, path in zip(axes, (table.loc[6, "image"], brighter), strict=True):
    ax.imshow(Image.open(folder / path))
    ax.axis("off")
