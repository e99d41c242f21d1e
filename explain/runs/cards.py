"""Pages that an explainer's training leaves for a reader: a sheet of held-out cases, and plain words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.images.pictures import write_png
from anomaly.pictures.scales import next_to_nothing
from anomaly.runs.previews import bullets
from anomaly.training.learned import Learned
from explain.classifier import Classifier
from explain.pictures.pictures import summary
from explain.runs.calibration import NOT_MEASURED, Calibration
from explain.trained import TrainedExplainer, some


def preview(
    explainer: TrainedExplainer,
    cases: np.ndarray,
    path: Path,
    *,
    limit: float,
    affine: np.ndarray | None = None,
    slices: bool = False,
) -> None:
    """Write a sheet of held-out cases: image, counterfactual, difference, and movement where things move.

    Args:
        explainer: fitted.
        cases: (n, C, *space) as prepared for it; up to 8, evenly spread, are shown.
        path: of the PNG file.
        limit: where the colours of a difference end.
        affine: of volumes, index to millimetres.
        slices: the images are slices of volumes, to be turned as a volume's are.
    """
    x = some(cases, explainer.device)
    explanation = explainer.explain(x)
    shown = [_upright(each.float().cpu().numpy().mean(1), slices) for each in (x, explanation.map)]
    drawn = explanation.counterfactual
    field = None if explanation.field is None or slices else explanation.field.float().cpu().numpy()
    counterfactuals = None if drawn is None else _upright(drawn.float().cpu().numpy().mean(1), slices)
    title = f"{explainer.name} on cases it was not trained on"
    page = summary(shown[0], counterfactuals, shown[1], fields=field, affine=affine, title=title, limits=limit)
    write_png(path, page)


def _upright(images: np.ndarray, slices: bool) -> np.ndarray:
    """Slices of volumes (n, i, j) as a reader holds them: front or head up."""
    return images.swapaxes(1, 2)[:, ::-1, ::-1] if slices else images


def model_card(
    learner: Learned, facts: Mapping[str, Any], calibration: Calibration | None = None, untold: str = ""
) -> str:
    """Say in plain words what a run is, what it may be used for and what it cannot know; Markdown.

    Args:
        learner: fitted.
        facts: as in `run.json`.
        calibration: of an explainer, what it would draw if labels meant nothing.
        untold: where there is none, that nobody can tell, in plain words; empty where nothing was measured.
    """
    data, told = facts["data"], facts["held_out"]
    classifier = isinstance(learner, Classifier)
    if classifier:
        between = f" ({told['auroc_low']:.3f} to {told['auroc_high']:.3f})" if "auroc_low" in told else ""
        held_out = f"AUROC on the images held out, which also said when to stop: {told['auroc']:.3f}{between}."
    else:
        held_out = (
            f"Mean size of the change, of a range of 2, in held-out cases {told['change_in_cases']:.4f}, in held-out "
            f"controls {told['change_in_controls']:.4f}: of a control little should be changed."
        )
        little = next_to_nothing(told.get("largest_change_in_cases", float("nan")), " in a held-out case")
        held_out = f"{little} {held_out}".strip()
        if isinstance(learner, TrainedExplainer) and not learner.paired and not learner.takes_target:
            held_out += f"\n\n{calibration.told() if calibration else untold or NOT_MEASURED}"
    return CARD.format(
        name=learner.name,
        what=CLASSIFIES if classifier else EXPLAINS,
        use=USE_CLASSIFIER if classifier else USE_EXPLAINER,
        summary=getattr(learner, "summary", "a method of the user's own"),
        cite=getattr(learner, "cite", "not given by the author of the method"),
        settings=bullets(learner.settings()),
        preprocessing=bullets(facts["preprocessing"]),
        split=bullets(data["split"]),
        images=data["images"],
        subjects=data["subjects"],
        subjects_from=data["subjects_from"],
        unreadable=data["unreadable"],
        fingerprint=data["fingerprint"],
        seed=facts["seed"],
        shape=" x ".join(map(str, learner.shape_)),
        held_out=held_out,
    )


EXPLAINS = """An explainer: it learned from images of cases and of controls how a case would look as a control,
and draws that for any image, with the difference."""
CLASSIFIES = """A classifier of cases and controls, made to be explained, or to judge what explainers draw. As
many cases as controls were shown to it, so its logit is 0 in the middle whatever the prevalence."""
USE_EXPLAINER = """## How to explain with it

    anomaly explain map RUN --images FOLDER_OR_CSV --out OUT

`OUT/explanations.csv` has one row an image; `OUT/maps` the map (image minus counterfactual: positive where the image is
brighter), the counterfactual, the field where things move, and a figure. `anomaly explain check RUN` asks whether the
map vanishes when labels are permuted."""
USE_CLASSIFIER = """## How to use it

    anomaly explain map METHOD --target RUN --images FOLDER_OR_CSV --out OUT     # explain it
    anomaly explain map OTHER_RUN --judge RUN --images FOLDER_OR_CSV --out OUT   # let it judge counterfactuals"""
CARD = """# Model card: {name}

## What it is

{what} Method: `{name}`, {summary}.

Settings:

{settings}

## What it was trained on

{images} images of {subjects} subjects ({unreadable} more could not be used and were left out):

{split}

No subject is in both parts; the split depends on the subjects' names alone, which come from {subjects_from}.
Fingerprint of the data: `{fingerprint}`. Seed: {seed}.

{held_out}

## How images are prepared

The network sees (channels x space) {shape}.

{preprocessing}

{use}

## What it is for, and what it is not

- For research. It is not a medical device, was not validated for diagnosis, and must not guide care.
- What differs between the cases and the controls it was given is what it draws: another scanner, age or position of the
  two groups is drawn as readily as disease. Give groups that differ in the disease alone.
- A counterfactual is what a network makes of an image, not what the person would look like when healed. Judge it by an
  independent classifier (`--judge`), and look at what is changed in controls.
- A finding that the prepared image no longer shows, for its size or its contrast, cannot be explained.

## How to cite

- the method: {cite}
- the software: anomaly-explain, see its CITATION.cff
"""
