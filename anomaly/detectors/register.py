"""Every detector by its name: a new method is its file and one line here."""

from anomaly.detectors.alphagan import AlphaGAN
from anomaly.detectors.auto import Auto
from anomaly.detectors.autoencoder import Autoencoder
from anomaly.detectors.base import Detector
from anomaly.detectors.baselines import PCA, Intensity, MeanImage
from anomaly.detectors.dae import DAE
from anomaly.detectors.diffusion import Diffusion
from anomaly.detectors.fanogan import FAnoGAN
from anomaly.detectors.feature_autoencoder import FeatureAutoencoder
from anomaly.detectors.features import Features
from anomaly.detectors.gradients import Gradients
from anomaly.detectors.irregularity import Irregularity
from anomaly.detectors.nearby import Nearby
from anomaly.detectors.own_features import OwnFeatures
from anomaly.detectors.restoration import Restoration
from anomaly.detectors.scattering import Scattering
from anomaly.detectors.stylegan import StyleGAN
from anomaly.detectors.texture import Texture
from anomaly.detectors.vae import VAE

CLASSES: tuple[type[Detector], ...] = (
    Auto,
    Intensity,
    MeanImage,
    PCA,
    Texture,
    Gradients,
    Scattering,
    Nearby,
    Irregularity,
    Features,
    OwnFeatures,
    FeatureAutoencoder,
    Autoencoder,
    VAE,
    Restoration,
    DAE,
    Diffusion,
    FAnoGAN,
    AlphaGAN,
    StyleGAN,
)
DETECTORS: dict[str, type[Detector]] = {cls.name: cls for cls in CLASSES}
