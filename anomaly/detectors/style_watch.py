"""How like real images the drawn ones are as a StyleGAN trains, on features that are named."""

from dataclasses import replace
from math import prod

import numpy as np
import torch

from anomaly.detectors.adversarial import AdversarialDetector, Referee
from anomaly.detectors.baselines import PCA
from anomaly.statistics.distances import frechet, kid
from anomaly.training.batches import chunks, evenly
from anomaly.training.games import Glance
from anomaly.training.learned import Images

MOST, COMPONENTS, DRAWN = 1000, 32, 500
MOST_BYTES = 2**28
"""Of the images that are looked at at once."""


class Likeness:
    """Principal components of the images trained on: how far drawn images lie from real ones there.

    Args:
        images: trained on, (n, C, *space); at most a thousand are looked at, and only what they look like is kept.
    """

    def __init__(self, images: Images, device: torch.device) -> None:
        looked_at = torch.as_tensor(np.asarray(some(images)), dtype=torch.float32)
        self.pca = PCA(components=max(1, min(COMPONENTS, len(looked_at) - 1)))
        self.usable = len(looked_at) > self.pca.components
        if self.usable:
            self.pca.shape_ = tuple(looked_at.shape[1:])
            self.pca.net_ = self.pca.build(self.pca.shape_)
            self.pca.settle(looked_at)
            self.pca.net_.to(device)
            self.trained = self.codes(looked_at[evenly(len(looked_at), DRAWN)])

    def codes(self, images: Images) -> np.ndarray:
        """(n, components), in units of the mean spread along them."""
        codes = torch.cat([self.pca.encode(x).cpu().double() for x in chunks(images, self.pca.device)])
        return (codes / self.pca.net_.variances.cpu().double().mean().sqrt()).numpy()


class StyleReferee(Referee):
    """What a person sees: samples, their distance from real images not trained on, the chance of augmentation.

    `fid_pca` and `kid_pca` are the Frechet and the kernel distance of drawn from held-out images in the principal
    components of those trained on; `fid_pca_real` is what as many of the trained-on images get in their place.
    """

    def __init__(self, detector: AdversarialDetector, held_out: Images, likeness: Likeness) -> None:
        super().__init__(detector, held_out)
        self.likeness = likeness
        self.codes = likeness.codes(some(held_out)) if likeness.usable and len(held_out) > 1 else None
        many = len(likeness.trained) if likeness.usable else 0  # the distances of few images are too large
        noise = np.random.default_rng(1).standard_normal((many, detector.latent), dtype=np.float32)
        self.many = torch.from_numpy(noise).to(detector.device)

    @torch.no_grad()
    def __call__(self, stage: str) -> Glance:
        """Pictures, figures and warnings of the moment; of images still growing the chance alone."""
        seen = super().__call__(stage)
        if stage == "encoder":
            return seen
        figures = {**seen.figures, "augmentation": float(self.detector.net_["chance"].p)}
        return replace(seen, figures=figures | (self._distances() if stage == "gan" else {}))

    def _distances(self) -> dict[str, float]:
        if self.codes is None:
            return {}
        # A part at a time, so that no more images are held than are drawn at once.
        drawn = np.concatenate([self.likeness.codes(self.sample(part)) for part in self.many.split(self.at_once)])
        return {
            "fid_pca": frechet(drawn, self.codes),
            "kid_pca": kid(drawn, self.codes),
            "fid_pca_real": frechet(self.likeness.trained, self.codes),
        }


def some(images: Images) -> Images:
    """At most a thousand images, of large volumes fewer, evenly spread: they may lie class by class."""
    return images[evenly(len(images), max(2, min(MOST, MOST_BYTES // (4 * prod(images.shape[1:])))))]
