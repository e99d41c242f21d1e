"""What explains, opened from a run folder or by the name of an attribution, with its target and what judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.masks import suited
from anomaly.errors import AnomalyError, CohortError, RunError, UnreadableImage
from anomaly.images import read
from anomaly.images.masking import masked
from anomaly.images.prepared import scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.nets.within import kept, within
from anomaly.runs.methods import find_among, make
from anomaly.runs.run import torch_device
from anomaly.training.batches import evenly
from explain.attributions.masked import WithinMask
from explain.base import Explainer, Explanation
from explain.runs.calibration import Calibration
from explain.runs.given import GeneratorRun, GivenRun, TargetRun, open_generator, open_target
from explain.runs.run import LearnedRun
from explain.trained import joined

CONTROLS = 256
"""Controls that an attribution learns its baselines from, at most."""


@dataclass(frozen=True)
class Source:
    """An explainer with all that explaining an image takes.

    Args:
        explainer: trained, or an attribution made for the target.
        preprocessing: how images become tensors.
        target: what is explained, where there is something.
        judge: an independent classifier.
        baseline: an explainer whose counterfactuals an attribution starts from.
        run: where the explainer was trained; None for attributions.
        identities: of all runs that take part, by what they are for.
        device: where images go.
        generator: in whose codes it walks, where it does.
        calibration: what it would draw if labels meant nothing; None where that was not measured.
        raw: that is not taken away of its maps.
    """

    explainer: Explainer
    preprocessing: Preprocessing
    target: TargetRun | None
    judge: TargetRun | None
    baseline: LearnedRun | None
    run: LearnedRun | None
    identities: Mapping[str, str]
    device: torch.device
    generator: GeneratorRun | None = None
    calibration: Calibration | None = None
    raw: bool = False

    @property
    def title(self) -> str:
        """What explains, for a picture: a run by its name and method, an attribution by its own; and of which run."""
        method = self.explainer.name
        name = method if self.run is None else f"{self.run.folder.resolve().name} ({method})"
        return name if self.target is None else f"{name} of {self.target.folder.resolve().name}"

    def explain(self, x: Tensor) -> Explanation:
        """The explanation of prepared images (N, C, *space), on the device they are on; nothing outside their masks.

        What would be drawn if labels meant nothing is taken away, where that was measured.
        """
        return self.calibrated(self.as_drawn(x), x)

    def calibrated(self, explanation: Explanation, x: Tensor) -> Explanation:
        """What is left of an explanation of prepared images, by this explainer or another one in its place."""
        if self.calibration is None or self.raw:
            return explanation
        return self.within_masks(self.calibration.applied(explanation, x), x)

    def within_masks(self, explanation: Explanation, x: Tensor) -> Explanation:
        """An explanation of prepared images without what it says outside their masks."""
        return explanation if self.preprocessing.mask == "none" else cut(explanation, within(x))

    def as_drawn(self, x: Tensor) -> Explanation:
        """The explanation of prepared images as the explainer draws it; nothing outside their masks."""
        if self.preprocessing.mask == "none":
            return self._of(x)
        target = getattr(self.explainer, "target", None)
        if not isinstance(target, WithinMask):
            return cut(self._of(x), within(x))
        parts = []
        for one in x.split(1):  # a target that is asked of any number of variants of one image knows its mask
            target.inside = within(one)
            parts.append(cut(self._of(one, target.inside), target.inside))
        return joined(parts)

    def _of(self, x: Tensor, inside: Tensor | None = None) -> Explanation:
        if self.baseline is None:
            return self.explainer.explain(x)
        drawn = self.baseline.explainer.explain(x).counterfactual
        assert drawn is not None
        return self.explainer.explain(x, baseline=kept(drawn, inside))  # type: ignore[call-arg]  # as made sure of


def cut(explained: Explanation, inside: Tensor) -> Explanation:
    """An explanation without what it says outside masks, (N, 1, *space)."""
    told = {name: getattr(explained, name) for name in ("map", "field", "spread")}
    parts = {name: part * inside for name, part in told.items() if part is not None}
    drawn = explained.counterfactual
    return replace(explained, counterfactual=None if drawn is None else kept(drawn, inside), **parts)


def open_source(
    source: Path | str,
    *,
    settings: Mapping[str, Any] | None = None,
    target: Path | str | None = None,
    generator: Path | str | None = None,
    judge: Path | str | None = None,
    baseline: Path | str | None = None,
    controls: Path | str | None = None,
    method: str | None = None,
    device: str = "auto",
    raw: bool = False,
) -> Source:
    """Open what explains.

    Args:
        source: the run folder of an explainer, or the name of an attribution or of latent-shift, which need `target`.
        settings: of the attribution.
        target: run folder of a classifier or a detector.
        generator: run folder of a detector in whose codes latent-shift walks, or where that of a walk was moved to.
        judge: run folder of an independent classifier, which says whether counterfactuals flip.
        baseline: run folder of an explainer, whose counterfactuals an attribution takes for its baseline.
        controls: images whose mean, or some of which, an attribution takes for its baseline.
        method: FILE.py:CLASS again, for a run of a user's own method.
        device: "auto", "cpu", "cuda", ...
        raw: of a run that was calibrated, maps as they are drawn.

    Raises:
        AnomalyError: an unknown attribution or setting, runs on images that were not prepared alike, or something
            that this source does not take.
        RunError: a run that cannot be used.
    """
    judging = None if judge is None else open_target(judge, device=device)
    based = None if baseline is None else LearnedRun.open(baseline, device=device)
    run, opened, drawing = None, None, None
    if (Path(source) / "run.json").exists() or Path(source).is_dir():
        _refuse(source, settings=settings, baseline=baseline, controls=controls)
        run = LearnedRun.open(source, device=device, method=method, target=target, generator=generator)
        opened, drawing = run.target, run.generator
        if drawing is None:
            _refuse(source, generator=generator)
        explainer: Explainer = run.explainer
        preprocessing = run.preprocessing
        if opened is None and target is not None:  # it explains none, and is asked what this one says
            opened = open_target(target, device=device)
    else:
        opened = None if target is None else open_target(target, device=device)
        drawing = None if generator is None else open_generator(generator, device=device)
        explainer = _attribution(str(source), settings, opened, based, drawing)
        assert opened is not None
        preprocessing = opened.preprocessing
        if controls is not None:
            explainer.fit(_read(controls, preprocessing))
        if preprocessing.mask == "given":
            explainer.target = WithinMask(opened.value)
    for each in (opened, drawing, judging):
        if each is not None:
            each.check(preprocessing, str(source))
    if opened is not None and judging is not None and opened.identity == judging.identity:
        raise AnomalyError(f"{judging.folder} is both target and judge; a judge must not be what was explained")
    if based is not None and based.preprocessing != preprocessing:
        raise AnomalyError(
            f"{based.folder} takes images prepared otherwise than the target; train both with the same options"
        )
    identities = {"source": run.identity if run else explainer.name}
    beside: dict[str, GivenRun | LearnedRun | None] = {
        "target": opened, "generator": drawing, "judge": judging, "baseline": based,
    }  # fmt: skip
    identities |= {what: each.identity for what, each in beside.items() if each is not None}
    return Source(
        explainer, preprocessing, opened, judging, based, run, identities, torch_device(device), drawing,
        calibration=None if run is None else run.calibration, raw=raw,
    )  # fmt: skip


def _attribution(
    name: str,
    settings: Mapping[str, Any] | None,
    target: TargetRun | None,
    baseline: LearnedRun | None,
    generator: GeneratorRun | None,
) -> Explainer:
    from explain import EXPLAINERS
    from explain.attributions.baselines import AgainstBaseline
    from explain.latent.shift import LatentShift
    from explain.trained import TrainedExplainer

    cls: type[Any] = find_among(EXPLAINERS, Explainer, name)
    if issubclass(cls, TrainedExplainer):
        raise RunError(f"{name} is trained: `anomaly explain train --method {name}`, then give its run folder")
    if target is None:
        raise AnomalyError(f"{name} explains a target; give --target, the run folder of a classifier or a detector")
    explainer: Explainer = make(cls, settings)
    explainer.target = target.value
    if isinstance(explainer, AgainstBaseline) and target.mean is not None:
        asked, mean = "baseline" in (settings or {}), torch.from_numpy(target.mean)
        explainer.begin_from_normal(mean, target.drawn, asked=asked, there=target.begins_there)
    if baseline is not None and not isinstance(explainer, AgainstBaseline):
        raise AnomalyError(f"{name} takes no baseline; leave --baseline out")
    if isinstance(explainer, LatentShift):
        if generator is None:
            raise AnomalyError(
                f"{name} walks in the codes of a generator; give --generator, the run folder of an autoencoder or "
                "another detector that draws images from codes"
            )
        explainer.generator = generator.generator
        explainer.threshold, explainer.scale = target.threshold, target.scale
    elif generator is not None:
        raise AnomalyError(f"{name} takes no generator; leave --generator out")
    return explainer


def _refuse(source: Path | str, **given: object) -> None:
    for name, value in given.items():
        if value:
            raise AnomalyError(f"{source} is a trained explainer, which takes no {name}; leave --{name} out")


def _read(controls: Path | str, preprocessing: Preprocessing) -> np.ndarray:
    """Prepared controls (n, C, *space), evenly chosen; those that cannot be used are passed over."""
    cohort = suited(read_cohort(controls, missing="keep"), None, preprocessing.mask, "what is explained")
    rows: list[Any] = cohort.to_dict("records")
    pixels = []
    for row in (rows[k] for k in evenly(len(rows), CONTROLS)):
        try:
            image = masked(read(Path(row["path"])), row.get("mask"))
            pixels.append(scaled(preprocessing.apply(image), image.path).pixels)
        except UnreadableImage:
            continue
    if not pixels:
        raise CohortError(f"none of the controls in {controls} can be read; give others")
    return np.concatenate(pixels)
