"""StyleGAN2 with adaptive augmentation (Karras et al. 2020a, 2020b), and an encoder that draws given images again."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from anomaly.detectors.reconstruction import Drawing, Scales
from anomaly.detectors.style_contest import Batch, Game, StyleContest, Terms
from anomaly.detectors.style_watch import Likeness, StyleReferee
from anomaly.errors import AnomalyError
from anomaly.nets.augmentation import Chance
from anomaly.nets.style_encoder import StyleEncoder
from anomaly.nets.styled import in_full
from anomaly.nets.stylegan import StyleCritic, StyleGenerator
from anomaly.nets.within import mean_of_batch
from anomaly.training.games import Player, Stage
from anomaly.training.learned import Images
from anomaly.training.loop import cosine


@dataclass(kw_only=True)
class StyleGAN(StyleContest):
    """A generator whose code says at every size what an image looks like, trained on few images; and its encoder.

    Stage "gan" trains generator G and critic D; with `progressive` stages "grow N" on smaller images come before it.
    Stage "encoder" trains E while both stand still: image, features of the critic (each position of length 1), steps
    aside of w+, and w itself, of images drawn from a known one. The codes of `encode` and `decode` are w, or w+
    flattened; new images are `decode(mapped(noise))`. Noise is drawn anew in training, and stays the same ever after.

    Sizes that are not 4 to 7 times a power of two are padded, and cropped when drawn. The defaults suit images of 64
    pixels on a small GPU; the page of the method has settings for a laptop.

    Args:
        code: what an image is encoded as: "w", or "w+", which draws it better and is changed less well.
        encoder_steps: of the encoder.
        encoder_lr: its learning rate, by Adam; falls to 0.
        encoder_width: its channels at full size.
        aside: weight of the squared steps aside.
        invert: weight of the squared error of w of drawn images, in units of the spread of w.
    """

    name: ClassVar[str] = "stylegan"
    summary: ClassVar[str] = "StyleGAN2 with adaptive augmentation, and encoder; draws new images, by class too"
    cite: ClassVar[str] = "Karras et al. 2020 (StyleGAN2); Karras et al. 2020 (ADA); encoder: Tov et al. 2021 (e4e)"
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "gan": ("sample", "image"), "encoder": ("image", "reconstruction"),
    }  # fmt: skip
    positive: ClassVar[tuple[str, ...]] = (*StyleContest.positive, "encoder_steps", "encoder_lr", "encoder_width")
    not_negative: ClassVar[tuple[str, ...]] = (*StyleContest.not_negative, "aside", "invert")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"code": ("w", "w+")}
    code: str = "w+"
    encoder_steps: int = 5000
    encoder_lr: float = 1e-3
    encoder_width: int = 16
    aside: float = 0.02
    invert: float = 0.1

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Generator, critic, encoder, what steers the game, and the scales of the heads."""
        common: dict[str, Any] = {
            "latent": self.latent, "width": self.width, "widest": self.widest, "classes": self.classes,
        }  # fmt: skip
        generator = StyleGenerator(shape, **common)
        return nn.ModuleDict(
            {
                "generator": generator,
                "critic": StyleCritic(shape, growing=self.progressive, **common),
                "encoder": StyleEncoder(
                    shape, latent=self.latent, styles=generator.synthesis.styles, width=self.encoder_width,
                    aside=self.code == "w+",
                ),
                "chance": Chance(self.augment, self.augment_images),
                "game": Game(),
                "scales": Scales(len(self.heads), shape[1:]),
            }
        )  # fmt: skip

    def settle(self, normals: Images) -> None:
        """Find features of these images that say, as the training goes on, how like them the drawn ones are."""
        self._likeness = Likeness(normals, self.device)

    def onlooker(self, held_out: Images) -> StyleReferee:
        """Watches samples, their likeness to real images, augmentation, and reconstructions."""
        return StyleReferee(self, held_out, self._likeness)

    def stages(self) -> Sequence[Stage]:
        """The contest, then the encoder."""
        encoder = Player(
            name="encoder", owns=[self.net_["encoder"]], loss=self.loss, schedule=cosine,
            optimiser=partial(torch.optim.Adam, lr=self.encoder_lr),
        )  # fmt: skip
        return [*super().stages(), Stage(name="encoder", players=[encoder], steps=self.encoder_steps)]

    def decode(self, code: Tensor) -> Tensor:
        """Images (N, C, *space) in [-1, 1] from w (N, latent) or w+ (N, styles * latent).

        Raises:
            AnomalyError: the codes have another length.
        """
        styles = self.net_["generator"].synthesis.styles
        if code.ndim != 2 or code.shape[1] not in (self.latent, styles * self.latent):
            raise AnomalyError(
                f"codes have shape {tuple(code.shape)}, expected w (N, {self.latent}) or w+ (N, {styles * self.latent})"
            )
        w = code if code.shape[1] == self.latent else code.view(len(code), styles, self.latent)
        return self._synthesis(w).clamp(-1, 1)

    def encode(self, x: Tensor) -> Tensor:
        """w (N, latent), or w+ (N, styles * latent) by the setting `code`."""
        return self._codes_of(x)[0]

    def features(self, x: Tensor) -> Tensor:
        """What the critic sees of each image before it compares images, each position of length 1; (N, F)."""
        seen = in_full(self.net_["critic"].features(self._padded(x)))
        return (seen * torch.rsqrt(seen.square().sum(1, keepdim=True) + 1e-8)).flatten(1)

    def criticise(self, x: Tensor) -> Tensor:
        """D(x) (N,), the mean over classes where there are some."""
        told: Tensor = self.net_["critic"](self._padded(x))
        return told

    def draw(self, x: Tensor) -> Drawing:
        """G(E(x))."""
        code = self.encode(x)
        return Drawing(self.decode(code), code=code)

    def _codes_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        w, aside = self.net_["encoder"](x)
        w = w + self.net_["generator"].mapping.mean
        return (w if self.code == "w" else (w[:, None] + aside).flatten(1)), aside

    def loss(self, batch: Batch) -> Terms:
        """The encoder's: what G(E(x)) lacks of x, how far w+ steps aside, and how far off the w of drawn images is."""
        x, classes = self._told(batch)
        code, aside = self._codes_of(x)
        drawn = self.decode(code)
        if self.classes and classes is None:  # of held-out images nobody knows them
            classes = self._one_hot(torch.randint(self.classes, (len(x),), device=x.device))
        with torch.no_grad():
            w = self._mapping(torch.randn(len(x), self.latent, device=x.device), classes)
            known, features = self.decode(w), self.features(x)
        mean = self.net_["generator"].mapping.mean
        told = self.net_["encoder"](known)[0] + mean
        off = (told - w).square().mean() / (w - mean).square().mean().clamp_min(1e-12)
        terms = {
            "image": mean_of_batch((x - drawn).square(), self.within(x)),
            "features": (features - self.features(drawn)).square().sum(1).mean() / self._positions,
            "aside": aside.square().mean(),
            "invert": off,
        }
        total = terms["image"] + self.kappa * terms["features"] + self.aside * terms["aside"] + self.invert * off
        return total, terms

    @property
    def _positions(self) -> int:
        return math.prod(self.net_["generator"].synthesis.pyramid.bottom)
