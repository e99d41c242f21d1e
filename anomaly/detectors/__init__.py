"""The detectors: one file a method, one line here."""

from anomaly.detectors.alphagan import AlphaGAN
from anomaly.detectors.autoencoder import Autoencoder
from anomaly.detectors.base import Detector, Score
from anomaly.detectors.baselines import PCA, Intensity, MeanImage
from anomaly.detectors.fanogan import FAnoGAN
from anomaly.detectors.reconstruction import ReconstructionDetector
from anomaly.detectors.stylegan import StyleGAN
from anomaly.detectors.trained import TrainedDetector
from anomaly.detectors.vae import VAE

__all__ = [
    "DETECTORS",
    "PCA",
    "VAE",
    "AlphaGAN",
    "Autoencoder",
    "Detector",
    "FAnoGAN",
    "Intensity",
    "MeanImage",
    "ReconstructionDetector",
    "Score",
    "StyleGAN",
    "TrainedDetector",
]

DETECTORS: dict[str, type[Detector]] = {
    cls.name: cls for cls in (Intensity, MeanImage, PCA, Autoencoder, VAE, FAnoGAN, AlphaGAN, StyleGAN)
}
