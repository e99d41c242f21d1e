"""Published generators that learn from pairs: settings of `Paired` by the names they are known by."""

from dataclasses import dataclass
from typing import ClassVar

from explain.counterfactuals.paired import Paired


@dataclass(kw_only=True)
class Pix2Pix(Paired):
    """pix2pix: drawn anew by a U-Net down to one pixel, before a critic that sees the case beside it.

    The published settings, but for the length of the training and the mean of several draws.
    """

    name: ClassVar[str] = "pix2pix"
    summary: ClassVar[str] = "pix2pix: a case drawn anew as its counterpart; learned from pairs"
    cite: ClassVar[str] = "Isola et al. 2017"
    batch: int = 1
    network: str = "pix2pix"
    mode: str = "direct"
    width: int = 64
    identity: float = 0.0
    conditional: bool = True
    critic_width: int = 64


@dataclass(kw_only=True)
class MedGAN(Pix2Pix):
    """MedGAN: drawn anew by a cascade of U-Nets, by the critic's features and their style.

    Armanious et al. 2020, with style taken from the critic's features, where the original takes those of a network
    trained on photographs.
    """

    name: ClassVar[str] = "medgan"
    summary: ClassVar[str] = "MedGAN: a cascade draws a case anew, judged by the critic's features; learned from pairs"
    cite: ClassVar[str] = "Armanious et al. 2020"
    network: str = "medgan"
    dropout: float = 0.0
    l1: float = 20.0
    feature: float = 20.0
    style: float = 1e-4


@dataclass(kw_only=True)
class RedCNN(Paired):
    """RED-CNN: what to add to a case to make it its counterpart, by least squares alone, as noise is removed."""

    name: ClassVar[str] = "red-cnn"
    summary: ClassVar[str] = "RED-CNN: what to add to a case to make it its counterpart, by least squares; from pairs"
    cite: ClassVar[str] = "Chen et al. 2017"
    lr: float = 1e-4
    network: str = "redcnn"
    mode: str = "residual"
    width: int = 96
    l1: float = 0.0
    l2: float = 1.0
    identity: float = 0.0
    adversarial: float = 0.0
