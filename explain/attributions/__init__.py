"""Attributions: what each pixel contributes to a target, from the target's gradients or by covering parts of the image.

They draw no counterfactual. Captum does the work where it can. Channels are summed, so a map has one. Each image goes
through the target by itself, never beside another, so that an explanation does not depend on its batch.

Floor 3: may import what lies below. Imports anomaly.nets, anomaly.training and base; imported by checking, commands,
latent and runs.
"""

from explain.attributions.deep_lift import DeepLift
from explain.attributions.grad_cam import GradCAM
from explain.attributions.gradients import Saliency, SmoothGrad
from explain.attributions.lrp import LRP
from explain.attributions.occlusion import Occlusion, SuperpixelOcclusion
from explain.attributions.paths import GradientShap, IntegratedGradients

__all__ = [
    "LRP",
    "DeepLift",
    "GradCAM",
    "GradientShap",
    "IntegratedGradients",
    "Occlusion",
    "Saliency",
    "SmoothGrad",
    "SuperpixelOcclusion",
]
