"""The auto-encoding GAN with Wasserstein critics: encoder, generator, image critic and code critic in one game."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from anomaly.detectors.adversarial import AdversarialDetector, wasserstein
from anomaly.detectors.reconstruction import Scales
from anomaly.nets.convolutional import CodeCritic, Critic, Encoder, Generator
from anomaly.nets.losses import gradient_penalty, l1
from anomaly.nets.within import mean_of_batch
from anomaly.training.games import Player, Stage


@dataclass(kw_only=True)
class AlphaGAN(AdversarialDetector):
    """Auto-encoding GAN (alpha-WGAN-GP): draws whole volumes, and any volume again as if it were normal.

    One stage, one update of each player a step. Otherwise than the original: instance norm in the image critic, for
    a gradient penalty forbids batch norm; one step of the generator, not two; new images and those drawn again pass the
    generator in one batch, which steadies its batch norm at four volumes a batch.

    Args:
        reconstruction: weight of |G(E(x)) - x|_1, a mean over the image's values. The published 10 suits a generator;
            with some hundreds images drawn again follow the original more closely.
        hidden: layers of the code critic.
        momentum: Adam's first.
    """

    name: ClassVar[str] = "alphagan"
    summary: ClassVar[str] = "auto-encoding GAN (alpha-WGAN-GP), made for volumes; values as fanogan"
    cite: ClassVar[str] = "Kwon et al. 2019; Rosca et al. 2017 (alpha-GAN); Gulrajani et al. 2017 (WGAN-GP)"
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {"gan": ("sample", "image", "reconstruction")}
    positive: ClassVar[tuple[str, ...]] = (*AdversarialDetector.positive, "hidden")
    not_negative: ClassVar[tuple[str, ...]] = (*AdversarialDetector.not_negative, "reconstruction", "momentum")
    below_one: ClassVar[tuple[str, ...]] = (*AdversarialDetector.below_one, "momentum")
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {}
    steps: int = 12_000
    batch: int = 4
    lr: float = 2e-4
    latent: int = 1000
    reconstruction: float = 10.0
    hidden: int = 4096
    momentum: float = 0.9

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The four networks, and the scales of the heads."""
        return nn.ModuleDict(
            {
                "encoder": Encoder(shape, latent=self.latent, width=self.width),
                "generator": Generator(shape, latent=self.latent, width=self.width),
                "critic": Critic(shape, width=self.width),
                "code_critic": CodeCritic(latent=self.latent, hidden=self.hidden),
                "scales": Scales(len(self.heads), shape[1:]),
            }
        )

    def stages(self) -> Sequence[Stage]:
        """One game of three: encoder with generator, image critic, code critic."""
        net, adam = self.net_, partial(torch.optim.Adam, lr=self.lr, betas=(self.momentum, 0.999))
        both = Player(
            name="encoder and generator", owns=[net["encoder"], net["generator"]], loss=self.drawing_loss,
            optimiser=adam,
        )  # fmt: skip
        critic = Player(name="critic", owns=[net["critic"]], loss=self.critic_loss, optimiser=adam)
        code_critic = Player(name="code critic", owns=[net["code_critic"]], loss=self.code_critic_loss, optimiser=adam)
        return [Stage(name="gan", players=[both, critic, code_critic], steps=self.steps)]

    def criticise_code(self, code: Tensor) -> Tensor:
        """C(z) (N,)."""
        return cast(Tensor, self.net_["code_critic"](code))

    def drawing_loss(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """-D(G(E(x))) - D(G(z)) - C(E(x)) + reconstruction |G(E(x)) - x|_1 (Kwon et al. 2019, eq. 2)."""
        code = self.encode(x)
        drawn, new = self.decode(torch.cat([code, self.codes(x)])).chunk(2)
        residual = mean_of_batch(l1(x, drawn), self.within(x))
        of_images = self.criticise(torch.cat([drawn, new])).mean() * 2
        loss = self.reconstruction * residual - of_images - self.criticise_code(code).mean()
        return loss, {"residual": residual}

    def critic_loss(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """-2 D(x) + D(G(E(x))) + D(G(z)) + penalty (GP(x, G(z)) + GP(x, G(E(x)))) (eq. 3)."""
        with torch.no_grad():
            fake = self.decode(torch.cat([self.codes(x), self.encode(x)]))
        real = torch.cat([x, x])
        of_real, of_fake = self.criticise(torch.cat([x, fake])).split([len(x), len(fake)])
        distance = wasserstein(of_real, of_fake)  # the mean over both kinds of fakes
        penalty = self.penalised(real, fake)
        return 2 * (self.penalty * penalty - distance), {"distance": distance, "penalty": penalty}

    def code_critic_loss(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """-C(z) + C(E(x)) + penalty GP(z, E(x)) (eq. 4)."""
        with torch.no_grad():
            fake = self.encode(x)
        real = self.codes(x)
        distance = wasserstein(*self.criticise_code(torch.cat([real, fake])).chunk(2))
        penalty = gradient_penalty(self.net_["code_critic"], real, fake).mean()
        return self.penalty * penalty - distance, {"distance": distance, "penalty": penalty}

    def loss(self, x: Tensor) -> Tensor:
        """What is watched on held-out normals where there is `patience`: |G(E(x)) - x|_1."""
        return mean_of_batch(l1(x, self.decode(self.encode(x))), self.within(x))
