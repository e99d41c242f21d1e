"""SPADE: images from label maps by normalisation that is undone pixel by pixel as the map says (Park et al. 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from anomaly.nets.losses import kl_to_standard_normal
from anomaly.painters.mapped import by_seeds, hot
from anomaly.painters.spade_nets import SpadeDecoder, StyleFinder
from anomaly.painters.synthesizer import Synthesizer
from anomaly.training.games import Source

REMEMBERED = 256


@dataclass(kw_only=True)
class Spade(Synthesizer):
    """Draws an image from a label map and a style, such as the scanner's contrast.

    A label map is washed out by the usual normalisations; here it scales and shifts what they leave, at every size
    (equation 1). In training the style is that of the real image, found by an encoder (section 3, multi-modal
    synthesis); later it is one of those that were met in training. Style and noise stand beside the map as channels.

    Args:
        steps: of the training.
        batch: images in a batch.
        lr: learning rate of Adam (0.5, 0.999) of what draws and of the encoder; falls to 0 like half a cosine. 1e-4 in
            the original, whose trainings are long; take 2e-4 with many thousand steps.
        lr_critic: of the critics; 4e-4 in the original.
        width: channels at full size, doubled at each halving, at most 8 times as many.
        levels: sizes, the full one and each of the halvings.
        hidden: channels between the map and the scales; 128 in the original.
        style: length of a style; 0 learns without an encoder.
        kl: weight of the divergence of a style from a standard normal, summed over its length.
        noise: channels of noise beside the map, from which grain is drawn.
        l1: weight of |drawn - real|; the original compares what a network trained on photographs sees of both.
        adversarial: weight of what the critics say.
        features: weight of the difference of what the critics' layers see of drawn and real.
        critic_width: channels after the critics' first convolution.
        halved: how often a critic halves: 3 judges patches of 70 pixels, 2 of 34, 1 of 16.
        scales: critics, of the image, its half, ...
        ema: share of the running average of weights, which is what is kept, that each step leaves.
    """

    name: ClassVar[str] = "spade"
    summary: ClassVar[str] = "SPADE: a label map, and a style, steer what is drawn at every size; 2D and 3D"
    cite: ClassVar[str] = "Park et al. 2019; Wang et al. 2018 (critics at several scales); Kingma and Welling 2014"
    positive: ClassVar[tuple[str, ...]] = (*Synthesizer.positive, "hidden")
    not_negative: ClassVar[tuple[str, ...]] = (*Synthesizer.not_negative, "style", "kl")
    lr: float = 1e-3
    lr_critic: float = 5e-4
    hidden: int = 24
    style: int = 8
    kl: float = 1e-5

    def artist(self, shape: tuple[int, ...]) -> nn.Module:
        """What draws, of MONAI's blocks."""
        told = self.classes_ + self.style + self.noise
        return SpadeDecoder(told, shape, width=self.width, levels=self.levels, hidden=self.hidden)

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """What draws, its critics, the encoder of styles, and the styles that were met."""
        nets = super().build(shape)
        if self.style:
            assert isinstance(nets, nn.ModuleDict)
            nets["finder"] = StyleFinder(shape, style=self.style, width=self.width)
            nets.register_buffer("met", torch.zeros(REMEMBERED, 2, self.style))
        return nets

    def owned(self) -> list[nn.Module]:
        """What draws and the encoder."""
        return [self.net_["artist"], *([self.net_["finder"]] if self.style else [])]

    def given(self, x: Tensor, places: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Drawn in the style of the real images; a style costs by its divergence from a standard normal."""
        if not self.style:
            return super().given(x, places)
        mean, log_variance = self.net_["finder"](x)
        style = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        drawn = self.drawn(places, self.grain(places), style)
        return drawn, {"kl": self.kl * kl_to_standard_normal(mean, log_variance).mean()}

    def drawn(self, places: Tensor, grain: Tensor, style: Tensor) -> Tensor:
        """tanh of the decoder, told the map, the style at every pixel, and the noise."""
        wide = style.view(*style.shape, *[1] * (places.ndim - 1)).expand(*style.shape, *places.shape[1:])
        told = torch.cat([hot(places, self.classes_), wide, grain], 1)
        return self.finished(self.net_["artist"](told), places)

    @torch.no_grad()
    def settle(self, source: Source) -> None:
        """Keep the styles of up to 256 images of the training: how they lie follows from the data, not from N(0, I)."""
        if not self.style:
            return
        found: list[Tensor] = []
        while sum(map(len, found)) < REMEMBERED:
            mean, log_variance = self.net_["finder"](source[len(found)][0].to(self.device))
            found.append(torch.stack([mean, log_variance], 1))
        self.net_.met.copy_(torch.cat(found)[:REMEMBERED])

    def styles(self, seeds: Sequence[int]) -> Tensor:
        """A style that was met, chosen by the seed, within what the encoder was sure of."""
        if not self.style:
            return super().styles(seeds)
        met = self.net_.met.cpu()
        chosen = torch.tensor([_which(seed) for seed in seeds], dtype=torch.long)
        mean, log_variance = met[chosen].unbind(1)
        return mean + (log_variance / 2).exp() * by_seeds(seeds, self.style, stream=1)


def _which(seed: int) -> int:
    random = torch.Generator().manual_seed(int(seed) * 2 + 1)
    return int(torch.randint(REMEMBERED, (1,), generator=random))
