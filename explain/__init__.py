"""The explainers: one file a family, one line here."""

from explain.attributions import IntegratedGradients, Saliency
from explain.base import Explainer, Explanation, Target

__all__ = ["EXPLAINERS", "Explainer", "Explanation", "IntegratedGradients", "Saliency", "Target"]

EXPLAINERS: dict[str, type[Explainer]] = {cls.name: cls for cls in (IntegratedGradients, Saliency)}
