"""The detectors: one file a method, one line in `register`; tensors in, a map and a value out.

It knows neither tables nor image files, and but for its base no disk.

Floor 3: may import what lies below. Imports degradations, nets, statistics and training; imported by commandline,
exporting, generation, progression, runs, synthesis and translation.
"""

from anomaly.detectors.alphagan import AlphaGAN
from anomaly.detectors.auto import Auto
from anomaly.detectors.autoencoder import Autoencoder
from anomaly.detectors.base import Detector, Score
from anomaly.detectors.baselines import PCA, Intensity, MeanImage
from anomaly.detectors.dae import DAE
from anomaly.detectors.diffusion import Diffusion
from anomaly.detectors.fanogan import FAnoGAN
from anomaly.detectors.feature_autoencoder import FeatureAutoencoder
from anomaly.detectors.features import Features
from anomaly.detectors.gradients import Gradients
from anomaly.detectors.irregularity import Irregularity
from anomaly.detectors.local import LocalDetector
from anomaly.detectors.nearby import Nearby
from anomaly.detectors.own_features import OwnFeatures
from anomaly.detectors.reconstruction import ReconstructionDetector
from anomaly.detectors.register import DETECTORS
from anomaly.detectors.restoration import Restoration
from anomaly.detectors.restoring import RestoringDetector
from anomaly.detectors.scattering import Scattering
from anomaly.detectors.stylegan import StyleGAN
from anomaly.detectors.texture import Texture
from anomaly.detectors.trained import TrainedDetector
from anomaly.detectors.vae import VAE

__all__ = [
    "DAE",
    "DETECTORS",
    "PCA",
    "VAE",
    "AlphaGAN",
    "Auto",
    "Autoencoder",
    "Detector",
    "Diffusion",
    "FAnoGAN",
    "FeatureAutoencoder",
    "Features",
    "Gradients",
    "Intensity",
    "Irregularity",
    "LocalDetector",
    "MeanImage",
    "Nearby",
    "OwnFeatures",
    "ReconstructionDetector",
    "Restoration",
    "RestoringDetector",
    "Scattering",
    "Score",
    "StyleGAN",
    "Texture",
    "TrainedDetector",
]
