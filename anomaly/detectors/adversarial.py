"""What the adversarial detectors share: an encoder, a generator and a critic, read and watched in one way.

The image is drawn again from its code, G(E(x)); the critic's features say how alike the two look. Both detectors
draw new images too, so a person can watch whether the generator still follows the critic.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from anomaly.detectors.reconstruction import Drawing, ReconstructionDetector
from anomaly.detectors.trained import SHOWN
from anomaly.errors import AnomalyError
from anomaly.nets.losses import gradient_penalty
from anomaly.nets.within import mean_within
from anomaly.training.batches import evenly, passes
from anomaly.training.games import Glance
from anomaly.training.learned import Images

JUDGED, MOST_VALUES = 64, 2**25
IMAGE, FEATURES, BOTH, LATENT = "image", "features", "both", "latent"
COLLAPSED = 0.2
"""A generator whose images differ by less than this share of what real images do has collapsed."""
APART, GROWN, LOOKS = 0.99, 1.2, 4
"""The critic has won if it told so large a share of pairs apart at so many glances, the distance growing by this."""
FEWEST = 8
"""Of fewer real images nothing is said."""
ALIKE = 0.05
"""Codes of normal images that vary less than this at two glances are all alike; those to draw from vary by 1."""
SAME_CODE = (
    "the encoder gives all images nearly the same code, so all are drawn alike; fanogan: begin anew with a lower --set "
    "encoder_lr=..., alphagan: raise --set reconstruction=..."
)


def wasserstein(of_real: Tensor, of_fake: Tensor) -> Tensor:
    """The critic's estimate of the Wasserstein distance, mean D(x) - mean D(y); higher is further apart."""
    return of_real.mean() - of_fake.mean()


def told_apart(of_real: Tensor, of_fake: Tensor) -> float:
    """Share of pairs of a real and a drawn image in which the critic gives the real one more; ties count half."""
    difference = of_real[:, None] - of_fake[None, :]
    return float((difference > 0).float().mean() + 0.5 * (difference == 0).float().mean())


def spread(x: Tensor) -> float:
    """Mean absolute difference over all pairs of images, per value: how diverse they are."""
    flat = x.flatten(1)
    return float(torch.pdist(flat, p=1).mean() / flat.shape[1])


@dataclass(kw_only=True)
class AdversarialDetector(ReconstructionDetector):
    """Base of the detectors that hold `encoder`, `generator` and `critic` in `net_`.

    Values beside the heads: "image", mean |x - G(E(x))|^2; "features", mean |f(x) - f(G(E(x)))|^2, f the critic's last
    layer but one; "both", image + kappa features; "latent", mean |E(x) - E(G(E(x)))|.

    Args:
        kappa: weight of the feature residual against the image residual.
        penalty: weight of the gradient penalty.
        latent: length of the code.
        width: channels of the networks at full size; the deepest have eight times as many.
    """

    generates: ClassVar[bool] = True
    shown: ClassVar[Mapping[str, tuple[str, ...]]]  # rows that a person sees of each stage
    own_values: ClassVar[tuple[str, ...]] = (BOTH, IMAGE, FEATURES, LATENT)
    positive: ClassVar[tuple[str, ...]] = (*ReconstructionDetector.positive, "latent", "width")
    not_negative: ClassVar[tuple[str, ...]] = (*ReconstructionDetector.not_negative, "kappa", "penalty")
    value_from: str = BOTH
    kappa: float = 1.0
    penalty: float = 10.0
    latent: int = 128
    width: int = 64

    def encode(self, x: Tensor) -> Tensor:
        """E(x)."""
        return cast(Tensor, self.net_["encoder"](x))

    def decode(self, code: Tensor) -> Tensor:
        """G(z).

        Raises:
            AnomalyError: the codes are not (N, latent).
        """
        if code.ndim != 2 or code.shape[1] != self.latent:
            raise AnomalyError(f"codes have shape {tuple(code.shape)}, expected (N, {self.latent})")
        return cast(Tensor, self.net_["generator"](code))

    def criticise(self, x: Tensor) -> Tensor:
        """D(x) (N,)."""
        return cast(Tensor, self.net_["critic"](x)).float()  # means in half precision would hide small distances

    def features(self, x: Tensor) -> Tensor:
        """f(x) (N, F), the critic's last layer but one."""
        return cast(Tensor, self.net_["critic"].features(x))

    def draw(self, x: Tensor) -> Drawing:
        """G(E(x))."""
        code = self.encode(x)
        return Drawing(self.decode(code), code=code)

    def further_values(self, x: Tensor, drawing: Drawing) -> dict[str, Tensor]:
        """Residuals of the image, of the critic's features and of the code; each a mean over its values."""
        of_image = mean_within((x - drawing.mean).square(), self.within(x))
        # No two images of a batch have a say in each other's features, so one pass serves both.
        features = self.features(torch.cat([x, drawing.mean])).chunk(2)
        of_features = (features[0] - features[1]).square().mean(1)
        assert drawing.code is not None
        of_code = (drawing.code - self.encode(drawing.mean)).abs().mean(1)
        both = of_image + self.kappa * of_features
        return {BOTH: both, IMAGE: of_image, FEATURES: of_features, LATENT: of_code}

    def codes(self, x: Tensor) -> Tensor:
        """As many codes z from N(0, I) as there are images."""
        return torch.randn(len(x), self.latent, device=x.device)

    def penalised(self, real: Tensor, fake: Tensor) -> Tensor:
        """The mean gradient penalty of the image critic between the two, not weighted."""
        return gradient_penalty(self.net_["critic"], real, fake).mean()

    def onlooker(self, held_out: Images) -> "Referee":
        """Watches samples, reconstructions and the contest of critic and generator."""
        return Referee(self, held_out)


class Referee:
    """Looks at a training in progress: draws from codes that stay the same, and says who has the upper hand.

    Args:
        detector: in training.
        held_out: normals not trained on, (n, C, *space); some are looked at, and as many drawn as could be.
    """

    def __init__(self, detector: AdversarialDetector, held_out: Images) -> None:
        most = max(SHOWN, min(JUDGED, MOST_VALUES // math.prod(held_out.shape[1:])))  # so that large volumes fit
        chosen = evenly(len(held_out), most)
        real = torch.as_tensor(np.asarray(held_out[chosen]), dtype=torch.float32, device=detector.device)
        self.detector, self.real = detector, real
        noise = np.random.default_rng(0).standard_normal((most, detector.latent), dtype=np.float32)
        self.noise = torch.from_numpy(noise).to(real.device)
        self.at_once, self.spread = passes(real.shape[1:]), spread(real)
        self.code_spread = math.inf  # at the last glance
        self.contests: deque[Contest] = deque(maxlen=LOOKS)

    @torch.no_grad()
    def __call__(self, stage: str) -> Glance:
        """Pictures, figures and warnings of the moment."""
        pictures: dict[str, Tensor] = {}
        figures: dict[str, float] = {}
        told: dict[str, str] = {}
        enough = len(self.real) >= FEWEST
        for row in self.detector.shown.get(stage, ()):
            if row == "sample":
                pictures[row] = fake = self.sample(self.noise)
                self.contests.append(self._contest(fake))
                figures |= self.contests[-1].figures()
                told |= warnings(self.contests) if enough else {}
            elif row == "image":
                pictures[row] = self.real
            else:
                codes = torch.cat([self.detector.encode(part) for part in self.real.split(self.at_once)])
                pictures[row] = self._drawn(codes[:SHOWN])
                figures["code_spread"] = float(codes.std(0, correction=0).mean())
                alike = max(self.code_spread, figures["code_spread"]) < ALIKE
                told |= {"alike": SAME_CODE} if enough and alike else {}
                self.code_spread = figures["code_spread"]
        return Glance(
            pictures={row: images[:SHOWN] for row, images in pictures.items()}, figures=figures, warnings=told
        )

    def sample(self, noise: Tensor) -> Tensor:
        """New images from noise (n, latent), where there are classes of each in turn."""
        known = getattr(self.detector, "classes", 0)
        classes = torch.arange(len(noise), device=noise.device) % known if known else None
        parts = [slice(k, k + self.at_once) for k in range(0, len(noise), self.at_once)]
        codes = [self.detector.mapped(noise[part], None if classes is None else classes[part]) for part in parts]
        return torch.cat([self.detector.decode(each) for each in codes])

    def _drawn(self, codes: Tensor) -> Tensor:
        return torch.cat([self.detector.decode(part) for part in codes.split(self.at_once)])

    def _contest(self, fake: Tensor) -> "Contest":
        diversity = spread(fake) / max(self.spread, 1e-9) if len(self.real) > 1 else math.nan
        return Contest(self._criticised(self.real), self._criticised(fake), diversity)

    def _criticised(self, x: Tensor) -> Tensor:
        return torch.cat([self.detector.criticise(part) for part in x.split(self.at_once)])


class Contest:
    """Critic against generator at one moment.

    Args:
        of_real: D(x) of normals not trained on, (n,).
        of_fake: D(G(z)), (m,).
        diversity: mean difference between drawn images over that between real ones.
    """

    def __init__(self, of_real: Tensor, of_fake: Tensor, diversity: float) -> None:
        self.distance = float(wasserstein(of_real, of_fake))
        self.apart, self.diversity = told_apart(of_real, of_fake), diversity

    def figures(self) -> dict[str, float]:
        """For the curves."""
        return {"distance": self.distance, "told_apart": self.apart, "diversity": self.diversity}


def warnings(contests: Iterable[Contest]) -> dict[str, str]:
    """What to tell a person of the last `LOOKS` glances; nothing before there are so many."""
    contests = list(contests)
    if len(contests) < LOOKS:
        return {}
    told, last = {}, contests[-1]
    if all(each.diversity < COLLAPSED for each in contests):
        told["collapsed"] = (
            f"the generator has collapsed: its images differ from one another {last.diversity:.0%} as much as real "
            "ones do; train on more normals, raise --set width=..., or lower --set lr=..."
        )
    before, lately = (sum(each.distance for each in part) for part in (contests[: LOOKS // 2], contests[LOOKS // 2 :]))
    if all(each.apart >= APART for each in contests) and lately > GROWN * before:
        told["won"] = (
            f"the critic has won: it tells {last.apart:.0%} of drawn from real images and the distance grows (now "
            f"{last.distance:.3g}), so the generator learns nothing; lower --set lr=..., or raise --set width=..., "
            "--set penalty=... or the number of normals"
        )
    return told
