"""The detectors: one file a method, one line in `register`; tensors in, a map and a value out.

May import nets, training, statistics and the corridor; never pandas, image files or the disk. Imported by runs and
what lies above; explain never imports it, for it explains any callable.
"""

from anomaly.detectors.alphagan import AlphaGAN
from anomaly.detectors.autoencoder import Autoencoder
from anomaly.detectors.base import Detector, Score
from anomaly.detectors.baselines import PCA, Intensity, MeanImage
from anomaly.detectors.fanogan import FAnoGAN
from anomaly.detectors.reconstruction import ReconstructionDetector
from anomaly.detectors.register import DETECTORS
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
