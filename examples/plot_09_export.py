"""
Exporting a run as one model
============================

Network, scaling, SVM and calibration become one file that runs without featx. Before the file is kept, its outputs are
compared with those of featx.
"""

import warnings

import keras
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from synthetic_skin import TASK, draw, workspace

import featx

warnings.filterwarnings("ignore", module="keras")
manifest, work = draw(), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
final = featx.finalize(
    manifest, arm="frozen", task=TASK, calibrate="sigmoid", cache=work / "cache", output=work / "final"
)
done = featx.export_model(
    final.path, output=work / "spots.keras", manifest=manifest, cache=work / "cache", overwrite=True
)
print(f"largest difference from featx: {done.agreement.scores:.1e} on {done.agreement.images} images")

# %%
# A model card is written beside the file. `write_card` writes one of any run, from its records alone.

card = featx.write_card(final.path, output=work / "card.md")
print("\n".join(card.read_text().splitlines()[:12]))

# %%
# The exported model takes uint8 pixels of the right size. ``.onnx`` files and OpenVINO folders take the same input.

model = keras.saving.load_model(done.path)
images = featx.read_manifest(manifest)
pixels = np.stack([np.asarray(Image.open(path)) for path in images.paths])
outputs = model.predict(pixels, verbose=0)

fig, ax = plt.subplots(figsize=(6, 4))
probability = np.ravel(outputs["probability"])
for label in ("nevus", "melanoma"):
    rows = (images.table["label"] == label).to_numpy()
    ax.hist(probability[rows], bins=np.linspace(0, 1, 21), alpha=0.6, label=label)
ax.set(xlabel="predicted probability of melanoma, on the training images", ylabel="images")
ax.legend()

# %%
# These are the images that the model was trained on: the picture shows that the file works, not how good it is.
