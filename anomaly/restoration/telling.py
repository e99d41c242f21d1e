"""What an evaluation of restored images says: means with intervals, the difference from the best floor, a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.classical.classical import AS_GIVEN
from anomaly.pictures import heatmaps
from anomaly.reporting import sections
from anomaly.reporting.template import written
from anomaly.restoration.judging import MEASURES, POOR, RESTORED, TRUTH, Judged
from anomaly.restorers.cards import flat
from anomaly.restorers.run import RestorerRun
from anomaly.runs.previews import EDGES
from anomaly.statistics import auroc_interval, bootstrap, compare_aurocs
from anomaly.statistics.estimates import FEWEST_PERSONS, between

HIGHER = ("psnr", "ssim")
"""Measures of which more is better; of the others, less."""
HTML = "fidelity.html"
WIDE = 0.25
"""What is drawn white of an error, of a range of 2."""


def summary(
    found: pd.DataFrame, floors: Sequence[str], *, labels: np.ndarray | None = None, seed: int = 0
) -> pd.DataFrame:
    """Means with 95 % intervals of each measure of each version, and how far the restored are from the best floor.

    Args:
        found: the table of figures, with the subject of each image.
        floors: names of the versions that need no learning, the poor images among them by one name.
        labels: (n,) 1, 0 or NaN; with them, the AUROC of what a judge says of each version.
        seed: of the bootstrap.

    Returns:
        Rows of version, measure, value, low, high, n, subjects, method. The difference from the best floor, which is
        the one with the best mean, is the version `restored - FLOOR`, positive where the restored are higher. Of fewer
        than 10 subjects there is no interval, and method says so.
    """
    rows: list[dict[str, object]] = []
    subject = found["subject"].to_numpy()

    def add(version: str, measure: str, values: np.ndarray) -> None:
        there = np.isfinite(values)
        if not there.any():
            return
        mean = bootstrap(lambda w: w @ values[there] / w.sum(1), subject[there], np.zeros(there.sum()), seed=seed)
        count = {"n": int(there.sum()), "subjects": len(set(subject[there]))}
        few = f"no interval: {count['subjects']} persons; {FEWEST_PERSONS} are needed"
        ends = (np.nan, np.nan, few) if count["subjects"] < FEWEST_PERSONS else (mean.low, mean.high, mean.method)
        told = dict(zip(("value", "low", "high"), (mean.value, *ends[:2]), strict=True))
        rows.append({"version": version, "measure": measure, **told, **count, "method": ends[2]})

    for measure in (*MEASURES, "nmse_inside"):
        columns = {name: f"{name}_{measure}" for name in (*floors, RESTORED)}
        if columns[RESTORED] not in found:
            continue
        values = {name: pd.to_numeric(found[column]).to_numpy(float) for name, column in columns.items()}
        for name, each in values.items():
            add(name, measure, each)
        means = {name: np.nanmean(values[name]) for name in floors}
        best = max(means, key=lambda name: means[name] if measure in HIGHER else -means[name])
        add(f"{RESTORED} - {best}", measure, values[RESTORED] - values[best])
    if labels is not None:
        beside = (name for name in floors if name not in (POOR, *AS_GIVEN))
        rows += _told_apart(found, [TRUTH, POOR, *beside, RESTORED], labels)
    return pd.DataFrame(rows)


def _told_apart(found: pd.DataFrame, names: Sequence[str], labels: np.ndarray) -> list[dict[str, object]]:
    """The AUROC of what a judge says of each version, and its difference from that of the good images."""
    there = np.isfinite(labels)
    told = found[there]
    subject, event = told["subject"], labels[there]
    rows: list[dict[str, object]] = []
    count = {"measure": "auroc", "n": len(told), "subjects": int(subject.nunique())}
    values = {name: pd.to_numeric(told[f"{name}_judged"]).to_numpy(float) for name in names}
    for name, each in values.items():
        area = auroc_interval(event, each, subject, scale="logit")
        rows.append({"version": name, "value": area.value, "low": area.low, "high": area.high, **count,
                     "method": area.method})  # fmt: skip
    for name in (POOR, TRUTH):
        apart = compare_aurocs(event, values[RESTORED], values[name], subject)
        ends = {"value": apart.difference, "low": apart.low, "high": apart.high}
        rows.append({"version": f"{RESTORED} - {name}", **ends, **count, "method": apart.method})
    return rows


def page(
    told: pd.DataFrame, run: RestorerRun, found: pd.DataFrame, failed: int, untuned: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """The page in Markdown, and its main sentences; `untuned` are the floors that are not as good as they can be."""
    sentences = [_sentence(told, "psnr", "dB"), _sentence(told, "ssim", "")]
    if "nmse_inside" in set(told["measure"]):
        sentences.append("Inside the mask: " + _sentence(told, "nmse_inside", ""))
    if untuned:
        sentences.append(
            f"Untuned: {', '.join(untuned)}. No image that the run held out is left to choose their strength by, but "
            "of those who are judged here: they are weaker floors than they could be; give images of other people."
        )
    areas = told[told["measure"] == "auroc"].set_index("version")
    if len(areas):
        good, poor, drawn = (dict(areas.loc[name]) for name in (TRUTH, POOR, RESTORED))
        sentences.append(
            f"The judge's AUROC is {good['value']:.3f} on good images, {poor['value']:.3f} on poor and "
            f"{drawn['value']:.3f} on restored ones ({between(drawn['low'], drawn['high'], '.3f')})."
        )
    left_out = f" {failed} more could not be used; errors.csv names them." if failed else ""
    steps = 1 if run.degradation is None else max(run.degradation.steps(len(run.restorer.shape_) - 1))
    cropped = "as they are" if steps == 1 else f"cropped to multiples of {steps} pixels where that is due"
    return PAGE.format(
        folder=run.folder.name, undoes=run.undoes, images=len(found), subjects=found["subject"].nunique(),
        left_out=left_out, cropped=cropped, sentences="\n".join(f"- {each}" for each in sentences), table=_table(told),
    ), sentences  # fmt: skip


def _sentence(told: pd.DataFrame, measure: str, unit: str) -> str:
    rows = told[told["measure"] == measure].set_index("version")
    apart = next(name for name in rows.index if str(name).startswith(f"{RESTORED} - "))
    best = str(apart).removeprefix(f"{RESTORED} - ")
    form, unit = (".2f", f" {unit}") if measure == "psnr" else (".4f", "")
    drawn, floor, difference = (dict(rows.loc[name]) for name in (RESTORED, best, apart))
    name = {"psnr": "PSNR", "ssim": "SSIM", "nmse_inside": "NMSE"}[measure]
    return (
        f"{name} of restored images: {drawn['value']:{form}}{unit} ({between(drawn['low'], drawn['high'], form)}); of "
        f"{best}, the best of what needs no learning, {floor['value']:{form}}{unit}; the difference is "
        f"{difference['value']:+{form}}{unit} ({between(difference['low'], difference['high'], form)})."
    )


def _table(told: pd.DataFrame) -> str:
    rows = _rows(told)
    lines = [f"| {' | '.join(rows[0])} |", f"|{' --- |' * len(rows[0])}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row.values()))} |" for row in rows)])


def _rows(told: pd.DataFrame) -> list[dict[str, object]]:
    """Rows of the summary as a reader takes them."""
    found: list[dict[str, object]] = []
    for row in told.to_dict("records"):
        form = ".2f" if row["measure"] == "psnr" else ".4g"
        ends = between(row["low"], row["high"], form)
        figures = {"mean": f"{row['value']:{form}}", "95 % interval": ends, "images": row["n"]}
        found.append({**{key: row[key] for key in ("version", "measure")}, **figures, "subjects": row["subjects"]})
    return found


def html(told: pd.DataFrame, run: RestorerRun, sentences: Sequence[str], out: Path) -> str:
    """The page as a browser opens it, with the picture that lies in `out` inside it."""
    about = f"Run {run.folder.name}, which undoes {run.undoes}. Intervals by drawing whole subjects anew."
    table = sections.table(_rows(told)) | {"title": "figures", "caption": "Means of each version"}
    name, shown = out.resolve().name, sections.picture(out, "fidelity.png")
    return written(HTML, name, sentences=sentences, about=about, table=table, picture=shown)


def picture(path: Path, shown: Sequence[tuple[str, Judged]], told: pd.DataFrame, undoes: str, step: int = 1) -> None:
    """Write a sheet of some images: good, poor, best floor, restored, and the size of the error of the restored one.

    Of volumes of whose slices along the last axis one of `step` was kept, one that was not is shown.
    """
    psnr = told[told["measure"] == "psnr"]["version"]
    best = next(name for name in psnr if name.startswith(f"{RESTORED} - ")).removeprefix(f"{RESTORED} - ")
    names = list(dict.fromkeys([TRUTH, best if best in AS_GIVEN else POOR, best, RESTORED]))
    rows: dict[str, list[np.ndarray]] = {name: [] for name in [*names, "error"]}
    for _, judged in shown:
        slices = judged.prepared.sliced is not None
        middle = {name: each[len(each) // 2] for name, each in judged.versions.items()}
        for name in names:
            rows[name].append(heatmaps.grey(flat(middle[name], slices, step), EDGES))
        error = np.abs(middle[RESTORED] - middle[TRUTH]).mean(0, keepdims=True)
        rows["error"].append(heatmaps.grey(flat(error, slices, step), (0.0, WIDE)))
    sheet = heatmaps.sheet(
        list(rows.values()), list(rows), title=undoes, bar=False, side=128,
        footer=f"error: |restored - truth|, white at {WIDE:g} of a range of 2; what is restored was drawn",
    )  # fmt: skip
    heatmaps.write_png(path, sheet)


PAGE = """# How near restored images come to good ones

Run `{folder}`, which undoes {undoes}. {images} images of {subjects} subjects, {cropped}.{left_out}

{sentences}

{table}

PSNR and SSIM are of a range of 2 (black to white), SSIM under a Gaussian window of 1.5 pixels; RMSE is in the images'
own intensities; NMSE is the squared error over the squared intensity above black. Intervals by drawing whole subjects
anew. `truth` is the good image, `degraded` what a network is given, on the grid of the good image: that is `linear`
where pixels or slices are missing, `zero-filled` where lines of k-space are. All figures are of images clipped to what
black and white stand for; what lies beyond does not count.

![good, poor, best floor, restored, error](fidelity.png)

A higher figure here says that pixels come nearer on average. It does not say that a lesion is still there: ask that of
images with masks (`--mask`) and of a judge (`--judge`, `--outcome`).
"""
