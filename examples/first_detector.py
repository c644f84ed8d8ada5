# %% [markdown]
# # From a data set to an acupoint detector
#
# Opens a data set, relights an image and certifies that no label moved, augments the whole set, trains a small model on
# both, and draws what the model finds in an image of a person that it never saw.
#
#     .venv/bin/python examples/first_detector.py [ACUSIM_ROOT]
#
# or cell by cell in an editor that knows `# %%`. Without ACUSIM_ROOT it generates a tiny synthetic data set. Everything
# is written below `first_detector/` in the current folder; run it again to continue. `make install` installs what it
# needs.

# %%
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import acusim
import engines
import evaluation
import training

WORK = Path("first_detector")
GIVEN = [Path(word) for word in sys.argv[1:2] if Path(word).is_dir()]
ROOT = GIVEN[0] if GIVEN else WORK / "heads"
EPOCHS, SIZE = 6, 64  # for a real model: the recipe's own 30 and 128


def run(*words: object) -> None:
    """Runs a command of the project."""
    subprocess.run([sys.executable, "-m", *map(str, words)], check=True)


# %% [markdown]
# ## 1. A data set
#
# Five synthetic persons in four views, in AcuSim's own layout: images, labels of the visible acupoints, true depth.

# %%
if not GIVEN:
    run("synthetic", "--out", ROOT, "--identities", 5, "--views", "1,4,7,34", "--size", 256)

dataset = acusim.open_dataset(ROOT)
sample = dataset[0]
image, label, depth = sample.read_image(), sample.read_label(), sample.read_depth()
print(f"{len(dataset)} samples; {sample.id}: image {image.shape}, {label.listed.sum()} of 174 acupoints visible")

# %% [markdown]
# ## 2. Relight one image, and certify it
#
# The certificate bounds how far each visible acupoint can have moved. Moving the image by five pixels makes it invalid.

# %%
relit = engines.relight(image, depth=depth, scene="sunset_sea")
for name, augmented in {"relit": relit, "moved by 5 px": np.roll(relit, 5, axis=1)}.items():
    certificate = evaluation.certify(image, augmented, label=label, frame=sample.id.frame, depth=depth)
    print(f"{name}: valid {certificate.valid}, {certificate.summary()}")

# %% [markdown]
# ## 3. Augment the whole data set
#
# The controller does that for every sample, with a ledger, so that it can be interrupted. The result has the same
# layout.

# %%
run("controller", "--batch", "--engine", "relight", "--dataset", ROOT, "--output", WORK / "augmented", "--quiet")

# %% [markdown]
# ## 4. Train and evaluate
#
# On originals and relit images together. Persons, never images, are divided into training, validation and test.

# %%
RUN = WORK / "run"
settings = {"data.size": SIZE, "train.batch_size": 8, "train.epochs": EPOCHS}
data = ("--data", ROOT, "--data", WORK / "augmented", "--cache", WORK / "cache", "--quiet")
changes = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
run("training", "train", "--config", "heatmaps", *changes, *data, "--out", RUN)
run("training", "evaluate", RUN, *data, "--out", WORK / "report")
print(f"{WORK}/report/report.html has the metrics beside baselines that need no image")

# %% [markdown]
# ## 5. Predict
#
# An image of a test person. (A model that was trained for seconds knows roughly where a head's points are, not more.)

# %%
split = json.loads((RUN / "data.json").read_text(encoding="utf-8"))["persons"]
unseen = next(each for each in dataset if split[each.id.name.casefold()] == "test")
found = training.load_model(RUN).predict(unseen.read_image())
drawn = Image.fromarray(unseen.read_image())
pen = ImageDraw.Draw(drawn)
for (x, y), visibility in zip(found.coords_px, found.visibility, strict=True):
    if visibility >= 0.5:
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(0, 200, 170))
drawn.save(WORK / "prediction.png")
print(f"{unseen.id}: {(found.visibility >= 0.5).sum()} acupoints visible, drawn in {WORK}/prediction.png")
