"""
Saliency: which parts of an image raise the decision value
==========================================================

Grad-CAM through the SVM. A map beside the spot is a reason to look closer; a map on the spot proves nothing.
"""

import matplotlib.pyplot as plt
from PIL import Image
from synthetic_skin import TASK, draw, workspace

import featx

manifest, work = draw(), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
featx.train_svm(manifest, arm="frozen", task=TASK, protocol="5x2", cache=work / "cache", output=work / "runs")
made = featx.saliency(
    work / "runs" / "frozen",
    manifest=manifest,
    images=["clinic000", "clinic006", "clinic008"],
    output=work / "saliency",
    cache=work / "cache",
)

# %%
# Each map states the class and the decision value that it explains. Where several folds test an image, the fold with the
# highest decision value for the predicted class is mapped.

fig, axes = plt.subplots(1, len(made.maps), figsize=(9, 3.4))
for ax, one in zip(axes, made.maps, strict=True):
    ax.imshow(Image.open(made.output / one.file))
    ax.set_title(f"{one.image}, fold {one.fold}\n{one.towards}: {one.value:.2f}", fontsize=9)
    ax.axis("off")
