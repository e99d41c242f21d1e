#!/usr/bin/env bash
# Relevance that captum hands back layer by layer (LRP) adds up to the output of a network without biases, which is what
# the method is for. Where the network adds a shortcut by a plain `+` in its forward, as residual networks do, nothing is
# said and it no longer does: the sum of the map differs from the output by more than the output, and has the other sign
# here for all three images, so a map that speaks for a class may be drawn of a network that speaks against it. Only who
# asks for `return_convergence_delta` can see it. The same layers one after the other add up to nine digits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 captum==0.9.0 numpy
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import captum
import torch
from captum.attr import LRP
from torch import nn

print("captum", captum.__version__, "torch", torch.__version__)
torch.manual_seed(0)


class Network(nn.Module):
    def __init__(self, shortcut):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.last = nn.Linear(4, 1, bias=False)
        self.rectified, self.again, self.pool = nn.ReLU(), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        self.shortcut = shortcut

    def forward(self, x):
        before = self.rectified(self.first(x))
        after = self.again(self.second(before))
        return self.last(self.pool(before + after if self.shortcut else after).flatten(1))


images, apart = torch.rand(3, 1, 8, 8), {}
for shortcut in (False, True):
    network = Network(shortcut).eval()
    output = network(images).detach().flatten()
    total = LRP(network).attribute(images.clone()).detach().flatten(1).sum(1)
    apart[shortcut] = ((total - output).abs() / output.abs()).tolist()
    print("with" if shortcut else "without", "a shortcut: output", [round(float(v), 4) for v in output],
          "sum of the map", [round(float(v), 4) for v in total])
raise SystemExit(not (max(apart[False]) < 1e-4 and min(apart[True]) > 1))
PYTHON
echo "as described"
