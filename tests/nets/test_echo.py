"""One network behind two detectors: asked once for the same images, and anew whenever these may have changed."""

import torch
from torch import nn

from anomaly.nets.echo import Echo


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        return x * self.weight


def test_the_same_images_are_looked_at_once_and_others_anew() -> None:
    source = Counted()
    echo, x = Echo(source), torch.ones(3)
    first = source(x)
    assert torch.equal(echo(x), first) and source.asked == 1
    assert torch.equal(echo(x), first) and source.asked == 2  # taken once
    source(x)
    assert torch.equal(echo(torch.zeros(3)), torch.zeros(3)) and source.asked == 4
    source(x)
    x.add_(1)  # changed in place since
    assert torch.equal(echo(x), torch.full((3,), 4.0)) and source.asked == 6


def test_it_has_no_weights_and_gradients_pass_through_it() -> None:
    source = Counted()
    echo, x = Echo(source), torch.ones(3, requires_grad=True)
    assert not echo.state_dict() and not list(echo.parameters())
    for _ in range(2):  # no graph is left over from before
        (slope,) = torch.autograd.grad((source(x) + echo(x)).sum(), x)
        assert slope.tolist() == [4.0, 4.0, 4.0]


def test_in_inference_mode_nothing_is_remembered() -> None:
    source = Counted()
    echo = Echo(source)
    with torch.inference_mode():
        x = torch.ones(3)
        assert torch.equal(source(x), echo(x))
    assert source.asked == 2
