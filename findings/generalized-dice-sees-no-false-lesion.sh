#!/usr/bin/env bash
# MONAI's GeneralizedDiceLoss weighs a class by 1 / (its volume)^2, and sets the weight to 0 where the class is absent
# and no other is there to take it from. Of one foreground class (sigmoid, or include_background=False) an image without
# a lesion therefore costs exactly 0 with a gradient of exactly 0, whatever is drawn in it; by default each image of a
# batch is weighed by itself, so that a network which finds every lesion and paints the normal images all over has a loss
# of 0. DiceLoss counts these images; batch=True counts them in batches that hold a lesion.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 numpy
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import monai
import torch
from monai.losses import DiceLoss, GeneralizedDiceLoss

print("torch", torch.__version__, "MONAI", monai.__version__)
truth = torch.zeros(2, 1, 16, 16)
truth[0, 0, 3:8, 3:8] = 1  # the second image is of a healthy person
right = torch.where(truth > 0, 20.0, -20.0)
everywhere = right.clone()
everywhere[1] = 20


def told(loss, logits, of):
    logits = logits.clone().requires_grad_()
    value = loss(logits, of)
    (slope,) = torch.autograd.grad(value, logits)
    return round(value.item(), 3), slope[-1].abs().max().item()


healthy = [told(GeneralizedDiceLoss(sigmoid=True), each[1:], truth[1:]) for each in (right, everywhere)]
by_image, by_batch, plain = (
    told(loss, everywhere, truth)
    for loss in (GeneralizedDiceLoss(sigmoid=True), GeneralizedDiceLoss(sigmoid=True, batch=True), DiceLoss(sigmoid=True))
)
two = torch.cat([-everywhere, everywhere], 1)
of_two = told(GeneralizedDiceLoss(softmax=True, to_onehot_y=True, include_background=False), two, truth)
print(f"healthy image: nothing drawn costs {healthy[0][0]}, all of it drawn {healthy[1][0]}; steepest slopes {healthy[0][1]}, {healthy[1][1]}")
print(f"beside an image whose lesion is found, the healthy one painted all over: {by_image[0]} (softmax {of_two[0]}), with batch=True {by_batch[0]}, DiceLoss {plain[0]}")
ok = healthy == [(0.0, 0.0), (0.0, 0.0)] and by_image == (0.0, 0.0) and of_two == (0.0, 0.0)
raise SystemExit(not (ok and by_batch[0] > 0.5 and plain[0] == 0.5))
PYTHON
echo "as described"
