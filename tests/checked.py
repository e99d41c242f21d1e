"""Explainers whose maps are known, and samples for them: what tests of checking have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from explained import RANGE
from torch import Tensor, nn

from anomaly.images import read
from explain import Explainer, Explanation
from explain.checking.images import Sample
from explain.runs.run import LearnedRun
from explain.runs.source import Source

OPTIONS: dict[str, Any] = {"device": "cpu", "workers": 1}


@dataclass(kw_only=True)
class Scaled(Explainer):
    """Its map is the image, so many times."""

    name: ClassVar[str] = "scaled"
    times: float = 1.0

    def evidence(self, x: Tensor) -> Explanation:
        return Explanation(self.times * x.mean(1, keepdim=True))


@dataclass(kw_only=True)
class Sloped(Explainer):
    """Its map is the gradient."""

    name: ClassVar[str] = "sloped"

    def evidence(self, x: Tensor) -> Explanation:
        x.requires_grad_()
        return Explanation(torch.autograd.grad(self.ask(x).sum(), x)[0])


class Quadratic:
    """A target |W x|^2 that holds its network as classifiers do; its slopes lie in the space of three patterns."""

    def __init__(self, space: tuple[int, ...]) -> None:
        self.net_ = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(space)), 3, bias=False))

    def value(self, x: Tensor) -> Tensor:
        return self.net_(x).square().sum(1)


def source_of(explainer: Explainer, run: LearnedRun | None = None) -> Source:
    return Source(explainer, RANGE, None, None, None, run, {"source": explainer.name}, torch.device("cpu"))


def noise(n: int, space: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 1, *space)).astype(np.float32)


def sample_of(n: int, space: tuple[int, ...]) -> Sample:
    return Sample(noise(n, space), np.array([f"s{k}" for k in range(n)]), False)


def people(labels: list[list[int]], **columns: Any) -> pd.DataFrame:
    """A row an image, subject by subject; all but the last subject are trained on."""
    rows = [
        {"id": f"{s}-{i}", "subject": f"s{s}", "label": label, "part": "train" if s < len(labels) - 1 else "choose"}
        for s, each in enumerate(labels)
        for i, label in enumerate(each)
    ]
    return pd.DataFrame(rows).assign(**columns)


def prepared(run: LearnedRun, table: pd.DataFrame) -> np.ndarray:
    """The images of a table as a run takes them, (n, C, *space)."""
    return np.concatenate([run.preprocessing.apply(read(Path(path))).pixels for path in table["path"]])
