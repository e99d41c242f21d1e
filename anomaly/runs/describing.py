"""What a run is, in short words: its method, the images it was made with, and how they are prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.facts import DETECTOR, kind_of, read_facts
from anomaly.shown import aligned, several

if TYPE_CHECKING:
    from anomaly.training.learned import Learned

TOLD_ALWAYS = ("fit", "intensity")
SPANS = ("percentiles", "window")


def describe(folder: Path | str) -> str:
    """What `anomaly info` prints; loads neither weights nor code, so it works for a user's own method too."""
    facts = read_facts(Path(folder))
    data, settings = facts["data"], ", ".join(f"{k}={v}" for k, v in facts["settings"].items())
    told = facts.get("classes")
    whose = "normals" if kind_of(facts) == DETECTOR else "learned"
    lines = {
        "run": str(folder),
        "method": f"{facts['method']}({settings})",
        "trained": f"{facts['created']} on {facts['machine']['device']}, seed {facts['seed']}",
        whose: images_in_short(facts),
        "subjects": f"from {data['subjects_from']}",
        **({"classes": f"{told['column']}: {', '.join(told['names'])}"} if told else {}),
        "images": ", ".join(f"{k} {v}" for k, v in facts["preprocessing"].items() if v is not None),
        **({"smallest p": smallest_p(data["calibration_subjects"])} if "calibration_subjects" in data else {}),
        "versions": ", ".join(f"{k} {v}" for k, v in facts["versions"].items()),
    }
    return aligned(lines, 11)


def smallest_p(people: int) -> str:
    """The smallest p-value that so many calibrating subjects allow, as text."""
    return f"{1 / (people + 1):.4g}"


def method_in_short(learned: Learned) -> str:
    """ "vae with latent=4, steps=500, else as by default"."""
    settings = learned.settings()
    set_ = [f"{name}={value}" for name, value in settings.items() if value != _default(learned, name)]
    if set_:
        return f"{learned.name} with {several(set_)}" + (", else as by default" if len(set_) < len(settings) else "")
    return learned.name + (" as by default" if settings else "")


def several_settings(settings: Mapping[str, Any]) -> str:
    """ "latent=4, steps=500", all of them."""
    return ", ".join(f"{name}={value}" for name, value in settings.items() if value != "") or "none"


def images_in_short(facts: Mapping[str, Any]) -> str:
    """ "20 images of 20 subjects: 14 to train, 2 to choose, 4 to calibrate", of what `run.json` says."""
    data = facts["data"]
    split = ", ".join(f"{count} to {part}" for part, count in data["split"].items())
    return f"{data['images']} images of {data['subjects']} subjects: {split}{left_out(data)}"


def left_out(data: Mapping[str, Any]) -> str:
    """How many images could not be used, to stand behind those that could; nothing where all could."""
    return f"; {data['unreadable']} more unreadable" if data.get("unreadable") else ""


def preprocessing_in_short(preprocessing: Preprocessing) -> str:
    """Size, fit and intensity, and whatever else is set otherwise than by default."""
    size = "their own size" if preprocessing.shape is None else _of("size", preprocessing.shape)
    unit = "" if preprocessing.shape is None else " pixels" if preprocessing.dims == 2 else " voxels"
    others = [
        f"{each.name} {_of(each.name, value)}"
        for each in dataclasses.fields(preprocessing)
        if (value := getattr(preprocessing, each.name)) != each.default or each.name in TOLD_ALWAYS
        if each.name not in ("dims", "size") and value is not None
    ]
    return several([f"{preprocessing.dims}D, {size}{unit}", *others], 160)


def _default(learned: Learned, name: str) -> Any:
    """The method's own value of a setting; MISSING, which equals no value, where it has none."""
    return next(each.default for each in dataclasses.fields(learned) if each.name == name)


def _of(name: str, value: Any) -> str:
    """A setting as a person writes it: 64 x 64, 0.5 to 99.5, otsu."""
    if not isinstance(value, tuple):
        return str(value)
    between = " to " if name in SPANS else " x "
    return between.join(f"{each:g}" for each in value)
