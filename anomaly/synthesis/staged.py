"""`anomaly synthesize ultrasound`: images of label maps by physics alone, without a training."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.masks import counting
from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import Image
from anomaly.images.finding import Globs
from anomaly.images.labels import Labels
from anomaly.painters.speckle import ultrasound
from anomaly.painters.tissues import Probe, Tissue
from anomaly.synthesis.applying import Drawing, Synthesized, written
from anomaly.synthesis.donating import read_alone
from anomaly.synthesis.listing import read_maps
from anomaly.synthesis.mapped import classes_of
from anomaly.synthesis.reading import refuse_unknown
from anomaly.synthesis.scattering import tissues_told
from anomaly.synthesis.writing import WHITE


def synthesize_ultrasound(
    labels: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    column: str | None = None,
    classes: str | None = None,
    tissues: Mapping[str, Tissue] | None = None,
    settings: Mapping[str, Any] | None = None,
    draws: int = 1,
    seed: int = 0,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    workers: int | None = None,
) -> Synthesized:
    """Draw ultrasound images of label maps by physics alone; this is `anomaly synthesize ultrasound`.

    Beams run down as a map is shown on a screen, or as the setting `beam` says. Files as of `synthesize`.

    Args:
        labels, column, draws, seed, subject, subject_pattern, where, match, exclude, workers: see `synthesize`.
        out: gets all that is written.
        classes: which numbers are which class; None makes each number its own, of which nothing is known.
        tissues: of classes by name; those of known names need none.
        settings: of `anomaly.painters.tissues.Probe`, by name.

    Raises:
        AnomalyError: an unknown setting, or tissues of no class.
        CohortError: no label maps, or none that can be used.
        RunError: `out` holds images made otherwise.
    """
    out = Path(out)
    probe = probe_of(settings or {})
    cohort = counting(
        read_maps(
            labels, column=column, subject=subject, subject_pattern=subject_pattern, where=where, match=match,
            exclude=exclude,
        )
    )  # fmt: skip
    known, background = classes_of(list(cohort["path"]), classes)
    scattering = tissues_told(known.names, tissues)
    rows = dict(zip(("background", *known.names), map(dataclasses.asdict, scattering), strict=True))
    told = {"probe": dataclasses.asdict(probe), "tissues": rows, "classes": known.as_json()}
    which = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    facts = {"synthesizer": which, "run": "ultrasound, by physics alone", **told}
    says = f"anomaly: drawn by ultrasound physics {which[:12]}, not measured"
    drawing = _by_physics(known, background, scattering, probe)
    return written(drawing, cohort, out, draws=draws, seed=seed, told=facts, says=says, workers=workers)


def probe_of(settings: Mapping[str, Any]) -> Probe:
    """A probe of settings by name.

    Raises:
        AnomalyError: there is no such setting, or it is of another type.
    """
    fields = {each.name: each.default for each in dataclasses.fields(Probe)}
    for name, value in settings.items():
        if name not in fields:
            raise AnomalyError(f"ultrasound has no setting {name!r}; it has {', '.join(fields)}")
        wanted = (str,) if isinstance(fields[name], str) else (int, float)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise AnomalyError(f"{name} is {value!r}; expected {'text' if wanted == (str,) else 'a number'}")
    return Probe(**settings)


def _by_physics(labels: Labels, background: Sequence[int], tissues: Sequence[Tissue], probe: Probe) -> Drawing:
    def draw(row: Mapping[str, Any], seeds: Sequence[int]) -> tuple[Image, list[np.ndarray]]:
        image, values = read_alone(row["path"])
        if image.ndim != 2:
            raise UnreadableImage(
                f"{image.path}: is a volume; ultrasound is drawn of pictures and single slices: save the "
                "slices, each as a file"
            )
        refuse_unknown(values, image.path, labels, background)
        turned = image.kind != "picture"  # whose first axis runs across the screen
        size = None if image.edges is None else (image.edges[0], image.edges[1])
        places = labels.places(values)
        drawn = [ultrasound(places, tissues, probe, seed=each, pixel=size, turned=turned) for each in seeds]
        return image, [(each[None] + 1) * (WHITE / 2) for each in drawn]

    return draw
