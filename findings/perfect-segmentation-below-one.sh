#!/usr/bin/env bash
# Two images segmented without a fault, of which one holds a lesion, and a third class that neither has. Of a class that
# an image or all images lack, libraries say different things without a word: torchmetrics' GeneralizedDiceScore gives
# each class the mean over images with 0 where it is absent (the lesion 0.5, the third class 0), its MeanIoU -1, its
# DiceScore NaN; MONAI's DiceMetric by class leaves an image out that lacks it, but gives a class that all lack 0, so that
# the mean over classes of a faultless segmentation is 2/3.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 torchmetrics==1.9.0 scipy numpy
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import math

import monai
import torch
import torchmetrics
from monai.metrics import DiceMetric
from torchmetrics.segmentation import DiceScore, GeneralizedDiceScore, MeanIoU

print("torch", torch.__version__, "MONAI", monai.__version__, "torchmetrics", torchmetrics.__version__)
truth = torch.zeros(2, 3, 8, 8, dtype=torch.long)
truth[0, 1, :4] = 1
truth[:, 0] = 1 - truth[:, 1]
monai_dice = DiceMetric(include_background=True, reduction="mean_batch")
monai_dice(truth, truth)
found = {"MONAI DiceMetric": monai_dice.aggregate().tolist()}
for metric in (
    DiceScore(num_classes=3, average="none"), GeneralizedDiceScore(num_classes=3, per_class=True), MeanIoU(num_classes=3, per_class=True)
):
    metric.update(truth, truth)
    found["torchmetrics " + type(metric).__name__] = metric.compute().tolist()
for name, values in found.items():
    print(f"{name}: background {values[0]:g}, lesion {values[1]:g}, a class that none has {values[2]:g}")
expected = {
    "MONAI DiceMetric": [1, 1, 0], "torchmetrics DiceScore": [1, 1, math.nan],
    "torchmetrics GeneralizedDiceScore": [1, 0.5, 0], "torchmetrics MeanIoU": [1, 1, -1],
}


def same(a, b):
    return all(math.isclose(x, y, abs_tol=1e-6) or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b))


raise SystemExit(not all(same(found[name], values) for name, values in expected.items()))
PYTHON
echo "as described"
