"""
Scoring new images, with the nearest training images
====================================================

`finalize` trains one SVM on all images; `predict` scores new ones. The most similar training images help a reader to see
what a score rests on. For research: no score is a diagnosis.
"""

import matplotlib.pyplot as plt
from synthetic_skin import TASK, draw, show, workspace

import featx

manifest, work = draw(), workspace()
new = draw("new", images=12, seed=2)
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
final = featx.finalize(
    manifest, arm="frozen", task=TASK, calibrate="sigmoid", cache=work / "cache", output=work / "final"
)
table = featx.predict(
    final.path, images=new, output=work / "predictions.csv", nearest=3, cache=work / "cache"
).to_frame()
table[["id", "score:melanoma", "probability:melanoma", "predicted", "in_training"]].head()

# %%
# The image with the highest and the one with the lowest decision value, each with its three nearest training images
# (cosine similarity of the features).

table = table.sort_values("score:melanoma")
fig, axes = plt.subplots(2, 4, figsize=(8, 4.4))
for row, (_, one) in zip(axes, table.iloc[[-1, 0]].iterrows(), strict=True):
    show(row[:1], new, [one["id"]])
    row[0].set_title(
        f"{one['id']}: {one['predicted']}\nprobability {one['probability:melanoma']:.2f}", fontsize=8
    )
    show(row[1:], manifest, [one[f"nearest_{place}"] for place in (1, 2, 3)])
    for ax, place in zip(row[1:], (1, 2, 3), strict=True):
        ax.set_title(f"{one[f'nearest_{place}_class']}\n{one[f'nearest_{place}_similarity']:.3f}", fontsize=8)
