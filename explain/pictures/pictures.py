"""The picture of one explanation, and the sheet of many: image, counterfactual, difference, movement, spread.

Arrays are numpy, on the image's grid (*space), (rows, columns) or (i, j, k). Signed values have two colours, either
the lighter the further from zero: they are told apart under every kind of colour blindness, and size in grey print.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from anomaly.errors import AnomalyError
from anomaly.images.pictures import write_png
from anomaly.pictures.heatmaps import DENSEST, HIGH, LOW, coloured
from anomaly.pictures.pages import LARGEST, SMALLEST, STRIP, Scale, View, legend, page, views, window
from anomaly.pictures.scales import FINEST, next_to_nothing
from explain.pictures.arrows import arrows, enlargement, sampled

ZERO = (40, 40, 40)
SIGNED = ((165, 220, 255), (70, 155, 240), (35, 95, 170), ZERO, (150, 80, 15), (235, 130, 25), (255, 205, 140))
GROWTH = ((200, 228, 115), (115, 165, 45), (60, 100, 35), ZERO, (128, 50, 135), (205, 100, 205), (245, 185, 250))
SPREAD = (ZERO, (25, 100, 100), (70, 175, 165), (200, 245, 235))
GREYS = ((0, 0, 0), (255, 255, 255))

WIDEST = 2000  # pixels of a row of panels, as far as their smallest size allows
FINEST_GROWTH = 0.02  # a scale of log Jacobians ends no lower: where areas change by 2 %
SIDE = 144  # pixels of the longer side of a panel of a sheet, and of the shortest scale
PERCENTILE = 99.5

Limits = float | Mapping[str, float] | None
Arrays = Sequence[np.ndarray] | np.ndarray


@dataclass(frozen=True)
class _Column:
    caption: str
    panel: Callable[[View], np.ndarray]
    legend: Callable[[int], np.ndarray]


def figure(
    image: np.ndarray,
    *,
    map: np.ndarray,
    counterfactual: np.ndarray | None = None,
    field: np.ndarray | None = None,
    log_jacobian: np.ndarray | None = None,
    spread: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    title: str = "",
    footer: str = "",
    limits: Limits = None,
) -> Image.Image:
    """Draw all that an explanation says of one image, side by side, each panel with its scale.

    A picture gives one row of panels, a volume three: slices through the highest peak of |map| (mean of 3 x 3 x 3
    voxels).

    Args:
        image: (*space), any range, shown between its 0.5 and 99.5 percentiles.
        map: the evidence, signed, (*space): image less counterfactual where there is one, both in [-1, 1], else in the
            target's units. Drawn in two colours; and its size over the image, from a quarter of the scale on.
        counterfactual: (*space), shown in the greys of the image.
        field: displacements in pixels, (dims, *space), component c along array axis c: the value at p is fetched
            from p + field(p). An arrow goes from there to p, as things move from image to counterfactual; in
            volumes its part within the slice. What moves less than 0.25 pixels has none.
        log_jacobian: of the field, (*space); below zero where things grow on that way.
        spread: standard deviation of the map over repeated draws, (*space).
        affine: (4, 4), index to millimetres, RAS+; gives the aspect, and turns volumes as `heatmaps.overlay` does.
        title, footer: lines above and below.
        limits: where the scale of the map ends, so that several images share it; or a mapping with any of "map",
            "log_jacobian" and "spread". A scale not given ends at `limit_of` the image's own values, of changes no
            lower than at 2 % of the range of grey values. Where no change is above 1 % the footer says so.

    Raises:
        AnomalyError: the image is neither 2D nor 3D, an array is on another grid or not finite, or a limit is not
            above zero.
    """
    _check(image, field, map=map, counterfactual=counterfactual, log_jacobian=log_jacobian, spread=spread)
    across = 3 + sum(each is not None for each in (counterfactual, field, log_jacobian, spread))
    seen = views(np.abs(map), affine, largest=min(LARGEST, max(SMALLEST, WIDEST // across)))
    columns = _drawn(image, map, counterfactual, limits)
    if field is not None:
        columns.append(_movement(columns[0], field, seen))
    if log_jacobian is not None:
        end = _limit(limits, "log_jacobian", log_jacobian, FINEST_GROWTH)
        scale = Scale(-end, end, GROWTH, "below 0 things grow, above 0 they shrink")
        columns.append(_in_colours("log Jacobian", log_jacobian, scale))
    if spread is not None:
        scale = Scale(0.0, _limit(limits, "spread", spread, FINEST), SPREAD, "standard deviation over draws")
        columns.append(_in_colours("spread", spread, scale))
    rows = [[view.marked(column.panel(view)) for column in columns] for view in seen]
    widths = [max(SIDE, *(panel.shape[1] for panel in panels)) for panels in zip(*rows, strict=True)]
    rows.append([column.legend(width) for column, width in zip(columns, widths, strict=True)])
    labels = [view.label for view in seen if view.label]
    if counterfactual is not None:
        footer = _told(footer, next_to_nothing(float(np.abs(map).max()), begin="Nothing changes here"))
    return page(rows, title=title, captions=[column.caption for column in columns], labels=labels, footer=footer)


def save_figure(
    path: Path,
    image: np.ndarray,
    *,
    map: np.ndarray,
    counterfactual: np.ndarray | None = None,
    field: np.ndarray | None = None,
    log_jacobian: np.ndarray | None = None,
    spread: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    title: str = "",
    footer: str = "",
    limits: Limits = None,
) -> None:
    """Write what `figure` draws as PNG, whole or not at all."""
    arrays = {"counterfactual": counterfactual, "field": field, "log_jacobian": log_jacobian, "spread": spread}
    write_png(path, figure(image, map=map, **arrays, affine=affine, title=title, footer=footer, limits=limits))


def summary(
    images: Arrays,
    counterfactuals: Arrays | None,
    maps: Arrays,
    *,
    fields: Arrays | None = None,
    affine: np.ndarray | None = None,
    title: str = "",
    footer: str = "",
    limits: Limits = None,
) -> Image.Image:
    """Draw a contact sheet: a column an image, all in the same greys, with one scale and one length of arrows.

    Args:
        images: at least one, each (*space); of a volume the axial slice through the peak of its |map| is shown.
        counterfactuals, maps, fields: as many, each as in `figure`; without counterfactuals maps are attributions.
        affine, title, footer, limits: as in `figure`.

    Raises:
        AnomalyError: as in `figure`, or there are more or fewer of one than of another.
    """
    rest: list[Arrays] = [each for each in (maps, counterfactuals, fields) if each is not None]
    if not len(images) or any(len(each) != len(images) for each in rest):
        raise AnomalyError(
            f"got {len(images)} images and {[len(each) for each in rest]} of what explains them; "
            "expected as many of each, at least one"
        )
    for k, image in enumerate(images):
        counterfactual = None if counterfactuals is None else counterfactuals[k]
        _check(image, None if fields is None else fields[k], map=maps[k], counterfactual=counterfactual)
    seen = [views(np.abs(map), affine, smallest=SIDE, largest=SIDE)[0] for map in maps]
    greys = window(np.concatenate([np.ravel(image) for image in images]))
    differs = counterfactuals is not None
    scale = _signed(_limit(limits, "map", maps, FINEST * differs), differs=differs)
    rows = {"original": [view.grey(image, greys) for view, image in zip(seen, images, strict=True)]}
    if counterfactuals is not None:
        rows["counterfactual"] = [view.grey(each, greys) for view, each in zip(seen, counterfactuals, strict=True)]
    name = "signed map" if counterfactuals is None else "difference"
    rows[name] = [scale.colours(view.smooth(map)) for view, map in zip(seen, maps, strict=True)]
    if fields is not None:
        times = enlargement(seen, fields)
        scale = replace(scale, unit=f"{scale.unit}; arrows {times}x, towards counterfactual")
        drawn = zip(rows["original"], seen, fields, strict=True)
        rows["movement"] = [arrows(shown, *sampled(view, field), times) for shown, view, field in drawn]
    panels = [[view.marked(panel) for view, panel in zip(seen, row, strict=True)] for row in rows.values()]
    if any(view.label for view in seen):
        panels.append([legend(max(view.size[0], SIDE // 2), view.label) for view in seen])
    if differs:
        footer = _told(footer, next_to_nothing(max(float(np.abs(map).max()) for map in maps)))
    return page(panels, title=title, labels=list(rows), footer=footer, key=scale.bar(2 * SIDE))


def limit_of(values: Arrays, finest: float = 0.0) -> float:
    """Where a scale for all these values ends: the 99.5 percentile of their size, else the largest, else 1.

    It ends no lower than `finest`: `anomaly.pictures.scales.FINEST` for changes.
    """
    sizes = np.abs(np.concatenate([np.ravel(each) for each in values]))
    found = float(np.percentile(sizes, PERCENTILE) or sizes.max())
    return max(found, finest) or 1.0


def _told(footer: str, remark: str) -> str:
    """The line below, and before it what is to be remarked."""
    return " ".join(filter(None, (remark, footer)))


def _limit(limits: Limits, name: str, values: Arrays, finest: float = 0.0) -> float:
    if isinstance(limits, Mapping) and not set(limits) <= {"map", "log_jacobian", "spread"}:
        raise AnomalyError(f"limits of {', '.join(limits)}; expected any of map, log_jacobian and spread")
    given = limits.get(name) if isinstance(limits, Mapping) else limits if name == "map" else None
    if given is not None and not 0 < given < np.inf:
        raise AnomalyError(f"the limit of the {name} is {given}; expected a number above zero, or none")
    return limit_of(values, finest) if given is None else float(given)


def _check(image: np.ndarray, field: np.ndarray | None, **others: np.ndarray | None) -> None:
    """Say plainly when arrays do not belong together."""
    if image.ndim not in (2, 3):
        raise AnomalyError(f"expected an image (rows, columns) or (i, j, k), got {image.shape}; give one channel")
    for name, array in {"image": image, "field": field, **others}.items():
        expected = (image.ndim, *image.shape) if name == "field" else image.shape
        if array is not None and array.shape != expected:
            raise AnomalyError(f"the {name} has shape {array.shape}, expected {expected} beside an image {image.shape}")
        if array is not None and not np.isfinite(array).all():
            raise AnomalyError(f"the {name} holds values that are not finite; leave it out, or mend what made it")


def _drawn(image: np.ndarray, map: np.ndarray, counterfactual: np.ndarray | None, limits: Limits) -> list[_Column]:
    """Original, counterfactual, map in two colours, and its size over the original."""
    greys, differs = window(image), counterfactual is not None
    scale = _signed(_limit(limits, "map", map, FINEST * differs), differs=differs)
    bar = Scale(*greys, GREYS, "intensity").bar
    original = _Column("original", lambda view: view.grey(image, greys), bar)
    if counterfactual is None:
        return [original, _in_colours("signed map", map, scale), _signed_overlay(original, map, scale)]
    other = _Column("counterfactual", lambda view: view.grey(counterfactual, greys), bar)
    return [original, other, _in_colours("difference", map, scale), _overlay(original, map, scale)]


def _signed(end: float, *, differs: bool) -> Scale:
    words = "of a range of 2: original less counterfactual" if differs else "units of the target: above 0 raises it"
    return Scale(-end, end, SIGNED, words)


def _in_colours(caption: str, values: np.ndarray, scale: Scale) -> _Column:
    return _Column(caption, lambda view: scale.colours(view.smooth(values)), scale.bar)


def _overlay(original: _Column, map: np.ndarray, scale: Scale) -> _Column:
    """The size of the map over the original; `LOW` of `HIGH` is a quarter of the scale."""

    def panel(view: View) -> np.ndarray:
        return coloured(original.panel(view), np.abs(view.smooth(map)) * (HIGH / scale.high))

    def bar(width: int) -> np.ndarray:
        shades = np.linspace(30, 225, STRIP).astype(np.uint8)[:, None].repeat(width, axis=1)
        colours = coloured(shades, np.linspace(LOW, HIGH, width)[None].repeat(STRIP, axis=0))
        numbers = [f"{scale.high * LOW / HIGH:.3g}", f"{scale.high:.3g}"]
        return legend(width, f"{scale.unit.split(':')[0]}, either sign", colours, numbers)

    return _Column("overlay", panel, bar)


def _signed_overlay(original: _Column, map: np.ndarray, scale: Scale) -> _Column:
    """The map in its two colours over the original, for evidence that speaks for or against."""

    def laid(shown: np.ndarray, values: np.ndarray) -> np.ndarray:
        share = np.clip((np.abs(values) / scale.high * HIGH - LOW) / (HIGH - LOW), 0, 1)
        alpha = DENSEST * np.sqrt(share)[..., None]
        return np.rint((1 - alpha) * shown[..., None] + alpha * scale.colours(values)).astype(np.uint8)

    def bar(width: int) -> np.ndarray:
        shades, values = np.full((STRIP, width), 128, np.uint8), np.linspace(-scale.high, scale.high, width)
        numbers = [f"-{scale.high:.3g}", "0", f"+{scale.high:.3g}"]
        return legend(width, scale.unit, laid(shades, values[None].repeat(STRIP, axis=0)), numbers)

    return _Column("overlay", lambda view: laid(original.panel(view), view.smooth(map)), bar)


def _movement(original: _Column, field: np.ndarray, seen: Sequence[View]) -> _Column:
    """Arrows over the original, of one scale in all views."""
    times, furthest = enlargement(seen, [field] * len(seen)), np.linalg.norm(field, axis=0).max()
    return _Column(
        "movement" if times == 1 else f"movement, arrows {times}x",
        lambda view: arrows(original.panel(view), *sampled(view, field), times),
        lambda width: legend(width, f"towards counterfactual, up to {furthest:.3g} px"),
    )
