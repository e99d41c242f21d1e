"""`anomaly generate --for-training`: drawn images with their label maps, as a cohort to learn from, and put to use."""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import refuse_overlap
from anomaly.cohorts.masks import suited
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.shown import Readable
from anomaly.synthesis.applying import synthesize
from anomaly.synthesis.holding import read_held
from anomaly.synthesis.mapped import TRAIN, Mapped
from anomaly.synthesis.run import SynthesizerRun
from anomaly.synthesis.use import SEEDS, put_to_use, told
from anomaly.synthesis.varied import Varying
from anomaly.synthesis.varying import vary_maps
from anomaly.translation.figures import tabulated

logger = logging.getLogger(__name__)
MAPS, IMAGES, USE = "maps", "images", "use.csv"


@dataclass(frozen=True, repr=False)
class ForTraining(Readable):
    """What a call of `draw_for_training` did.

    Args:
        cohort: the drawn images as a table to learn from: id, path, labels, subject, drawn_from (the map it began
            with), lesion_from (subjects whose lesions were laid in), run.
        count: how many images.
        use: what they are worth, a row a figure; there where real images were given.
        sentences: the same in plain words.
        failed: label maps and images that could not be used; `errors.csv` names them.
    """

    cohort: Path
    count: int
    use: Path
    sentences: tuple[str, ...]
    failed: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return f"{self.count} drawn images with label maps", {
            "table": self.cohort,
            "use": self.use if self.sentences else None,
        }


def draw_for_training(
    run: Path | str,
    out: Path | str,
    *,
    count: int = 64,
    seed: int = 0,
    lesions: Sequence[str] = (),
    varying: Varying | None = None,
    real: Mapped | None = None,
    settings: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = SEEDS,
    allow_overlap: bool = False,
    device: str = "auto",
    workers: int | None = None,
) -> ForTraining:
    """Draw images with label maps to learn from, of nobody; this is `anomaly generate --for-training`.

    The label maps that the run learned from are bent, with lesions of one person laid into another where they are asked
    for, and images are drawn of them. `maps/` and `images/` hold both, `cohort.csv` lists them, as `segment train
    --labelled` takes it. A drawn image counts as of the person whose map it began with; lesions come from other persons
    whom the run learned from as well, so that nothing of a test person is in it. With real images of other people it is
    put to use: `use.csv` says how well segmenters do that learned from real images, from drawn ones, and from both. A
    second call with the same arguments draws what is missing; one with a larger count adds to it.

    Args:
        run: what `learn_synthesis` left, its training images and label maps still where they were.
        out: gets all that is written.
        count: images.
        seed: of maps and images.
        lesions: classes that are laid from one map into another, by name or number.
        varying: how maps are varied, beside the lesions.
        real: images with label maps of people that the run was not trained on.
        settings: of the segmenters, by name.
        seeds: of their trainings.
        allow_overlap: take subjects that the run was trained on as a test as well.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read and write; None takes one a core.

    Raises:
        AnomalyError: fewer images than 1, or an unknown class.
        CohortError: the run's label maps are gone, no real images, or subjects that the run was trained on.
        RunError: a run that cannot be used, or an `out` that holds something else.
    """
    out, opened = Path(os.path.abspath(out)), SynthesizerRun.open(run, device=device)
    if count < 1:
        raise AnomalyError(f"count is {count}; give 1 or more")
    test = None if real is None else _test(opened, real, allow_overlap)
    learned = _there(opened)
    maps = _ordered(learned, seed).assign(path=lambda each: each["labels"])
    varied = vary_maps(
        maps[["id", "path", "subject"]], out / MAPS, classes=_classes(opened), lesions=_named(opened, lesions),
        varying=varying, seed=seed, draws=-(-count // len(maps)), count=count,
    )  # fmt: skip
    table = pd.read_csv(varied.path, dtype=str, keep_default_na=False)
    table["path"] = [str(out / MAPS / name) for name in table["path"]]
    if opened.preprocessing.mask == "given":
        masks = dict(zip(learned["labels"], learned["mask"], strict=True))
        table["mask"] = [masks[path] for path in table["varied_from"]]
    drawn = synthesize(
        run, table, out / IMAGES, column="path", seed=seed, device=device, workers=workers,
        mask="mask" if "mask" in table else None,
    )  # fmt: skip
    path = _write_cohort(out, drawn.cohort, table)
    failed = [*_rows(varied.errors, varied.failed), *_rows(drawn.errors, drawn.failed)]
    count = len(pd.read_csv(path))
    if test is None:
        return ForTraining(path, count, out / USE, (), _tell(out, failed))
    known, made, asked = (read_held(opened, each, workers=workers) for each in (learned, _read(path), test))
    figures = put_to_use(known, made, asked, opened.labels.names, settings=settings, seeds=seeds, device=device)
    write_whole(out / USE, tabulated(figures).to_csv(index=False))
    failed += [row for each in (known, made, asked) for row in each.unreadable]
    new = not opened.trained & {*asked.subjects}
    return ForTraining(path, count, out / USE, tuple(told(figures, new=new)), _tell(out, failed))


def _ordered(learned: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same rows in an order by chance that is always the same: a few are of many persons, more begin with these."""
    keys = [hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in learned["id"]]
    return learned.iloc[np.argsort(keys, kind="stable")].reset_index(drop=True)


def _rows(errors: Path, failed: int) -> list[dict[str, str]]:
    """What a table of errors says, where this call found any."""
    if not (failed and errors.is_file()):
        return []
    return [
        {str(name): str(cell) for name, cell in row.items()}
        for row in pd.read_csv(errors, dtype=str, keep_default_na=False).to_dict("records")
    ]


def _tell(out: Path, failed: list[dict[str, str]]) -> int:
    """Write `errors.csv` of all that could not be used, or none; how many there are."""
    path = out / "errors.csv"
    path.unlink(missing_ok=True)
    if failed:
        write_whole(path, pd.DataFrame(failed).to_csv(index=False))
    return len(failed)


def _test(run: SynthesizerRun, real: Mapped, allow_overlap: bool) -> pd.DataFrame:
    table = suited(real.read(), real.mask, run.preprocessing.mask, str(run.folder))
    if not allow_overlap:
        refuse_overlap(run.trained, table, run.folder)
    return table


def _there(run: SynthesizerRun) -> pd.DataFrame:
    """The images that the run learned from, where they and their label maps still are.

    Raises:
        CohortError: none is.
    """
    table = run.cohort
    table = table[table["split"] == TRAIN]
    there = [all(Path(row[name]).is_file() for name in ("path", "labels")) for row in table.to_dict("records")]
    found = table[there].reset_index(drop=True)
    if found.empty:
        raise CohortError(
            f"none of the {len(table)} images with label maps that {run.folder} learned from is where it was (the "
            f"first: {table['labels'].iloc[0]}); put them back, or draw of other maps with `anomaly synthesize vary` "
            "and `apply`"
        )
    if len(found) < len(table):
        logger.warning(
            "%d of %d images that the run learned from are no longer there", len(table) - len(found), len(table)
        )
    return found


def _named(run: SynthesizerRun, lesions: Sequence[str]) -> list[str]:
    """Names of classes, of which some may be given by a number that label maps hold for them."""
    pairs = zip(run.labels.names, run.labels.numbers, strict=True)
    by_number = {str(number): name for name, numbers in pairs for number in numbers}
    return [each if each in run.labels.names else by_number.get(each, each) for each in lesions]


def _classes(run: SynthesizerRun) -> str:
    """The run's classes, as `vary_maps` takes them."""
    pairs = zip(run.labels.names, run.labels.numbers, strict=True)
    return ",".join(f"{name}={'+'.join(map(str, numbers))}" for name, numbers in pairs)


def _write_cohort(out: Path, drawn: Path, varied: pd.DataFrame) -> Path:
    """`cohort.csv` of the drawn images, each with its label map, paths from the folder."""
    table = pd.read_csv(drawn, dtype=str, keep_default_na=False)
    table = table[table["labels"].isin(varied["path"])].reset_index(drop=True)  # earlier calls may have drawn more
    began, given = (dict(zip(varied["path"], varied[name], strict=True)) for name in ("varied_from", "lesion_from"))
    table["drawn_from"] = [began[path] for path in table["labels"]]
    table["lesion_from"] = [given[path] for path in table["labels"]]
    table["path"] = [f"{IMAGES}/{name}" for name in table["path"]]
    table["labels"] = [os.path.relpath(path, out) for path in table["labels"]]
    path = out / "cohort.csv"
    write_whole(path, table.to_csv(index=False))
    return path


def _read(path: Path) -> pd.DataFrame:
    table = Mapped(images=path, labels="labels", mask="mask" if "mask" in pd.read_csv(path, nrows=0) else None).read()
    return table.reset_index(drop=True)
