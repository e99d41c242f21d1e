"""f-AnoGAN: a Wasserstein GAN of normal images, then an encoder into its latent space (Schlegl et al. 2019)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from anomaly.detectors.adversarial import AdversarialDetector, wasserstein
from anomaly.detectors.reconstruction import Scales
from anomaly.nets.residual import Critic, Encoder, Generator
from anomaly.nets.within import mean_of_batch
from anomaly.training.games import Player, Stage

WARM_UP = 100


@dataclass(kw_only=True)
class FAnoGAN(AdversarialDetector):
    """Fast AnoGAN: how far an image is from what a generator of normal images can draw of it, in one pass.

    Stage "wgan" trains generator G and critic D (WGAN-GP); stage "encoder" trains E while both stand still. The
    defaults are the published sizes, meant for a GPU; the page of the method has settings that suit a laptop.

    The published map is not smoothed: `smooth=0`.

    Args:
        steps: of the generator.
        critic_turns: of the critic, in each of them.
        encoder_steps: of the encoder.
        encoder_lr: its learning rate (RMSProp).
        mapping: what the encoder lowers: "izi", the image residual; "izi_f", image + kappa feature residual; "ziz",
            the residual of the code of drawn images.
    """

    name: ClassVar[str] = "fanogan"
    summary: ClassVar[str] = "WGAN-GP and encoder; values both (image + kappa features), image, features, latent"
    cite: ClassVar[str] = "Schlegl et al. 2019 (f-AnoGAN); Gulrajani et al. 2017 (WGAN-GP)"
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "wgan": ("sample", "image"), "encoder": ("image", "reconstruction"),
    }  # fmt: skip
    positive: ClassVar[tuple[str, ...]] = (
        *AdversarialDetector.positive, "critic_turns", "encoder_steps", "encoder_lr",
    )  # fmt: skip
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"mapping": ("izi_f", "izi", "ziz")}
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {
        "steps": (20_000, 20_000), "batch": (64, 4), "width": (64, 16),
    }  # fmt: skip
    width: int = 0
    lr: float = 1e-4
    critic_turns: int = 5
    encoder_steps: int = 50_000
    encoder_lr: float = 5e-5
    mapping: str = "izi_f"

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The three networks, and the scales of the heads."""
        return nn.ModuleDict(
            {
                "generator": Generator(shape, latent=self.latent, width=self.width),
                "critic": Critic(shape, width=self.width),
                "encoder": Encoder(shape, latent=self.latent, width=self.width),
                "scales": Scales(len(self.heads), shape[1:]),
            }
        )

    def stages(self) -> Sequence[Stage]:
        """The contest, then the encoder."""
        net, adam = self.net_, partial(torch.optim.Adam, lr=self.lr, betas=(0.0, 0.9))
        critic = Player(
            name="critic", owns=[net["critic"]], loss=self.critic_loss, optimiser=adam, turns=self.critic_turns
        )
        generator = Player(name="generator", owns=[net["generator"]], loss=self.generator_loss, optimiser=adam)
        encoder = Player(
            name="encoder", owns=[net["encoder"]], loss=self.loss, schedule=self._warm_up,
            optimiser=partial(torch.optim.RMSprop, lr=self.encoder_lr, alpha=0.9),
        )  # fmt: skip
        return [
            Stage(name="wgan", players=[critic, generator], steps=self.steps),
            Stage(name="encoder", players=[encoder], steps=self.encoder_steps),
        ]

    def _warm_up(self, done: float) -> float:
        """Rise to the full learning rate over the first updates of the encoder.

        The original's RMSProp begins with mean squares of one, so with small steps. PyTorch's begins at zero, with
        steps of three times the learning rate in every weight, which can drive the tanh to where nothing is learnt.
        """
        return min(1.0, (done * self.encoder_steps + 1) / WARM_UP)

    def critic_loss(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """D(G(z)) - D(x) + penalty (|grad D| - 1)^2 (Gulrajani et al. 2017, eq. 3)."""
        with torch.no_grad():
            fake = self.decode(self.codes(x))
        # No two images of a batch have a say in each other's D, so one pass serves both.
        distance = wasserstein(*self.criticise(torch.cat([x, fake])).chunk(2))
        penalty = self.penalised(x, fake)
        return self.penalty * penalty - distance, {"distance": distance, "penalty": penalty}

    def generator_loss(self, x: Tensor) -> Tensor:
        """-D(G(z))."""
        return -self.criticise(self.decode(self.codes(x))).mean()

    def loss(self, x: Tensor) -> Tensor:
        """The encoder's (Schlegl et al. 2019, eqs. 2 to 5): izi, izi_f or ziz."""
        if self.mapping == "ziz":
            code = self.codes(x)
            with torch.no_grad():
                fake = self.decode(code)
            return (code - self.encode(fake)).square().mean()
        drawn = self.decode(self.encode(x))
        image = mean_of_batch((x - drawn).square(), self.within(x))
        if self.mapping == "izi":
            return image
        with torch.no_grad():
            features = self.features(x)
        return image + self.kappa * (features - self.features(drawn)).square().mean()
