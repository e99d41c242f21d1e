"""The explainers: one file a family, one line here.

They are imported when first used: group maps (`explain.association`) need no torch.
"""

from functools import cache
from importlib import import_module
from typing import Any

_EXPLAINERS = {
    "Additive": "explain.counterfactuals.additive",
    "Conditional": "explain.counterfactuals.conditional",
    "Targeted": "explain.counterfactuals.targeted",
    "Paired": "explain.counterfactuals.paired",
    "Pix2Pix": "explain.counterfactuals.paired_recipes",
    "MedGAN": "explain.counterfactuals.paired_recipes",
    "RedCNN": "explain.counterfactuals.paired_recipes",
    "Deformation": "explain.counterfactuals.deformation",
    "LatentWalk": "explain.latent.walk",
    "LatentShift": "explain.latent.shift",
    "DiffusionCounterfactual": "explain.counterfactuals.diffusion",
    "DeepLift": "explain.attributions",
    "GradCAM": "explain.attributions",
    "GradientShap": "explain.attributions",
    "IntegratedGradients": "explain.attributions",
    "LRP": "explain.attributions",
    "Occlusion": "explain.attributions",
    "Saliency": "explain.attributions",
    "SmoothGrad": "explain.attributions",
    "SuperpixelOcclusion": "explain.attributions",
}
_PLACES = {
    **_EXPLAINERS,
    "Explainer": "explain.base",
    "Explanation": "explain.base",
    "Walk": "explain.base",
    "Target": "explain.base",
    "TrainedExplainer": "explain.trained",
    "Classifier": "explain.classifier",
    "export": "explain.exporting.export",
    "Association": "explain.association",
    "associate": "explain.association",
}
__all__ = sorted(["EXPLAINERS", *_PLACES])


def __dir__() -> list[str]:
    return __all__


@cache
def _explainers() -> dict[str, Any]:
    classes = [__getattr__(name) for name in _EXPLAINERS]
    return {cls.name: cls for cls in classes}


def __getattr__(name: str) -> Any:
    if name == "EXPLAINERS":
        return _explainers()
    if name not in _PLACES:
        raise AttributeError(f"module 'explain' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_PLACES[name]), name)
