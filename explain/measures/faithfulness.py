"""Whether a map shows what a target goes by: change the images where the map says it matters, and ask the target again.

Images are (N, C, *space) in [-1, 1], maps (N, 1, *space), a target any callable (N, C, *space) -> (N,), as for the
explainers. Evidence for the target is positive, so give |map| where the sign says which way intensities differ and
not which way the target does. All that is random is drawn from the seed, once for all images, so that no figure depends
on its batch; the caller's random state stays as it was. About `batch` changed images are in memory at a time.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from explain.base import Target
from explain.measures.metrics import ncc

Perturbation = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""From images (n, C, *space), their baselines of the same shape, and random numbers, to perturbed images."""
Maps = Callable[[Tensor], Tensor]  # of images


@dataclass(frozen=True)
class Curves:
    """The target while pixels are put in or taken out, those with most evidence for it first.

    Args:
        share: of the pixels changed so far, 0 to 1, (steps + 1,).
        insertion, deletion: from the baseline to the image, and back, (N, steps + 1).
        insertion_area, deletion_area: below them, by trapezoids, (N,), in units of the target. A faithful map has
            much of the first and little of the second.
    """

    share: Tensor
    insertion: Tensor
    deletion: Tensor
    insertion_area: Tensor
    deletion_area: Tensor


def insertion_deletion(
    target: Target, x: Tensor, maps: Tensor, *, steps: int = 64, baseline: Tensor | None = None, batch: int = 64
) -> Curves:
    """Put pixels in, and take them out, from the most evidence for the target to the most against it.

    Petsiuk et al. 2018, for any target and baseline.

    Args:
        target: what is explained; a probability rather than a logit keeps the areas of several images comparable.
        x, maps: images, and signed evidence for the target, where tied pixels go in the order of their place.
        steps: in how many equal parts.
        baseline: images without anything to see, (N or 1, C, *space); None is black, -1.
        batch: how many images go through the target at once.

    Raises:
        AnomalyError: shapes that do not fit, or a target that does not give one finite number an image.
    """
    origins, rank, counts = _checked(x, maps, baseline), _rank(maps), _counts(maps, steps)
    insertion, deletion = (_walk(target, *ends, rank, counts, batch) for ends in ((origins, x), (x, origins)))
    share = (counts / maps[0].numel()).to(x)
    return Curves(share, insertion, deletion, torch.trapezoid(insertion, share), torch.trapezoid(deletion, share))


def flipping(target: Target, start: Tensor, end: Tensor, maps: Tensor, *, steps: int = 64, batch: int = 64) -> Tensor:
    """The target while the pixels of images become those of others, highest in the map first: (N, steps + 1).

    From image to baseline it is pixel flipping (Samek et al. 2017), and region perturbation where the map is the
    same all over each region.
    """
    return _walk(target, start, _checked(start, maps, end), _rank(maps), _counts(maps, steps), batch)


def faithfulness_correlation(
    target: Target,
    x: Tensor,
    maps: Tensor,
    *,
    subset: float = 0.05,
    runs: int = 100,
    baseline: Tensor | None = None,
    batch: int = 64,
    seed: int = 0,
) -> Tensor:
    """Whether the target loses with random pixels what the map gives them: Pearson's correlation, -1 to 1, (N,).

    Bhatt et al. 2020, for subsets of one size; 0 where map or target do not change.

    Args:
        subset: share of the pixels that becomes the baseline, each time.
        runs: how many subsets, drawn from `seed`.
        target, x, maps, baseline, batch: as for `insertion_deletion`.
    """
    origins = _checked(x, maps, baseline)
    pixels = maps[0].numel()
    random, size = torch.Generator().manual_seed(seed), round(subset * pixels)
    if not 0 < size < pixels or runs < 2:
        raise AnomalyError(f"subset={subset} of {pixels} pixels, runs={runs}; expected some pixels, 2 runs or more")
    before = _all_told(target, x, batch)
    lost, given = before.new_empty(len(x), runs), before.new_empty(len(x), runs)
    for columns in _slices(runs, batch):
        chosen = torch.stack([torch.randperm(pixels, generator=random)[:size] for _ in range(runs)[columns]])
        done = torch.zeros(len(chosen), pixels).scatter_(1, chosen, 1.0).to(before)
        given[:, columns] = maps.detach().flatten(1).to(before) @ done.T
        for rows in _slices(len(x), batch // len(done)):
            lost[rows, columns] = before[rows, None] - _asked(target, done[None], x[rows], origins[rows])
    return torch.from_numpy(ncc(given.numpy(force=True), lost.numpy(force=True))).to(before)


def boxes(x: Tensor, baseline: Tensor, random: torch.Generator) -> Tensor:
    """One box becomes the baseline: each side from 1/16 to 1/4 of the image's, at any place, all evenly likely."""
    place = []
    for side in x.shape[2:]:
        width = int(torch.randint(max(1, side // 16), max(1, side // 4) + 1, (), generator=random))
        start = int(torch.randint(side - width + 1, (), generator=random))
        place.append(slice(start, start + width))
    changed, inside = x.clone(), (slice(None), slice(None), *place)
    changed[inside] = baseline[inside]
    return changed


def noise(x: Tensor, baseline: Tensor, random: torch.Generator, *, width: float = 0.1) -> Tensor:
    """Gaussian noise is taken away, independent in all pixels, with a standard deviation of `width` intensities."""
    return x - width * torch.randn(x.shape[1:], generator=random).to(x)


def infidelity(
    target: Target,
    x: Tensor,
    maps: Tensor,
    *,
    perturbation: Perturbation = boxes,
    shares: bool = True,
    samples: int = 64,
    baseline: Tensor | None = None,
    batch: int = 64,
    seed: int = 0,
) -> Tensor:
    """How far the map is from what the target loses by perturbations I: E[(I * map - (f(x) - f(x - I)))^2], (N,).

    Infidelity of Yeh et al. 2019; 0 is best. It is in squared units of the target, so a map in other units fails by
    its scale alone. The same as captum's, for a fraction of its time beside the target's.

    Args:
        perturbation: what is done to all images, from one draw; `boxes` suits shares, `noise` slopes.
        shares: whether the map holds shares of the target, as integrated gradients do, so that I counts as a share of
            x - baseline; otherwise slopes, as saliency does. Several channels have equal parts in the map.
        samples: how many perturbations, drawn from `seed`.
        target, x, maps, baseline, batch: as for `insertion_deletion`.
    """
    origins = _checked(x, maps, baseline)
    weight = maps.detach().to(x).expand_as(x) / x.shape[1]
    if shares:
        span = x.detach() - origins
        weight = weight / torch.where(span == 0, 1, span)
    before, wrong = _all_told(target, x, batch), x.new_empty(len(x), samples)
    for rows, columns, changed in _perturbed(perturbation, x, origins, samples, batch, seed):
        claimed = ((x[rows, None].detach() - changed) * weight[rows, None]).flatten(2).sum(2)
        after = _told(target, changed.flatten(0, 1)).view(changed.shape[:2])
        wrong[rows, columns] = claimed - (before[rows, None] - after)
    return wrong.square().mean(1)


def sensitivity_max(
    explain: Maps, x: Tensor, *, radius: float = 0.04, samples: int = 10, batch: int = 64, seed: int = 0
) -> Tensor:
    """How far a map moves when the image hardly does: largest |map(x + e) - map(x)| / |map(x)|, (N,); 0 is best.

    Max-sensitivity of Yeh et al. 2019, over draws of e that are uniform in every pixel; the same as captum's. A map
    that never changes is best by it, so read it beside `infidelity`.

    Args:
        explain: what makes the maps, such as `lambda x: explainer.explain(x).map`.
        radius: e lies within it, in intensities; the default is 2 % of the way from black to white.
        samples, batch: how many draws, from `seed`; how many images are explained at once.
    """

    def explained(images: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            maps = explain(images.detach().clone()).detach()
        if len(maps) != len(images) or not maps.isfinite().all():
            raise AnomalyError(f"explain gave {tuple(maps.shape)} for {tuple(images.shape)}; expected finite, one each")
        return maps.flatten(1)

    def shaken(images: Tensor, _: Tensor, random: torch.Generator) -> Tensor:
        return images + radius * (2 * torch.rand(x.shape[1:], generator=random) - 1).to(x)

    calm = torch.cat([explained(x[rows]) for rows in _slices(len(x), batch)])
    moved = calm.new_empty(len(x), samples)
    for rows, columns, changed in _perturbed(shaken, x, x, samples, batch, seed):
        maps = explained(changed.flatten(0, 1)).view(*changed.shape[:2], -1)
        moved[rows, columns] = (maps - calm[rows, None]).norm(dim=2)
    size = calm.norm(dim=1)
    return moved.amax(1) / torch.where(size == 0, 1, size)


def randomised(module: nn.Module, *, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """Copies of a network that know less and less: every layer from the output down to the named one is drawn anew.

    Cascading randomisation of Adebayo et al. 2018: a map that stays the same explains no network. A layer is what
    holds parameters of its own; they go in the order the network registers them, last first. Each is drawn by its
    `reset_parameters`, or, where it has none, gets its own values in a random order. The network stays as it is.
    """
    names = [name for name, layer in module.named_modules() if list(layer.parameters(recurse=False))]
    if not names:
        raise AnomalyError(f"{type(module).__name__} has no parameters, so there is nothing to draw anew")
    for number, name in enumerate(reversed(names)):
        module = copy.deepcopy(module)
        layer = module.get_submodule(name)
        device = next(layer.parameters(recurse=False)).device
        with torch.random.fork_rng([]), torch.no_grad():
            torch.default_generator.manual_seed(seed + number)
            layer.cpu()  # the same draws on every device
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
            else:
                for each in layer.parameters(recurse=False):
                    each.copy_(each.flatten()[torch.randperm(each.numel())].view_as(each))
            layer.to(device)
        yield name or type(module).__name__, module


def _perturbed(
    change: Perturbation, x: Tensor, origins: Tensor, samples: int, batch: int, seed: int
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Which images, which draws, and the images perturbed by them, (a, b, C, *space), until all have had all draws."""
    if samples < 1:
        raise AnomalyError(f"samples is {samples}; expected 1 or more")
    for rows in _slices(len(x), batch):
        random = torch.Generator().manual_seed(seed)
        for columns in _slices(samples, batch // (rows.stop - rows.start)):
            with torch.no_grad():
                drawn = [change(x[rows], origins[rows], random) for _ in range(samples)[columns]]
            yield rows, columns, torch.stack(drawn, dim=1)


def _rank(maps: Tensor) -> Tensor:
    """Each pixel's place, (N, pixels), from 0 for the highest; of tied ones the first comes first."""
    order = maps.detach().flatten(1).argsort(dim=1, descending=True, stable=True)
    place = torch.arange(order.shape[1], dtype=torch.float32, device=order.device).expand_as(order)
    return torch.empty_like(place).scatter_(1, order, place)


def _walk(target: Target, start: Tensor, end: Tensor, rank: Tensor, counts: Tensor, batch: int) -> Tensor:
    """The target when the first `counts` pixels have become the end, (N, counts)."""
    values = start.new_empty(len(start), len(counts))
    for rows in _slices(len(start), batch // len(counts)):
        for columns in _slices(len(counts), batch):
            done = (counts[columns, None].float() - rank[rows, None]).clamp_(0, 1)
            values[rows, columns] = _asked(target, done, start[rows], end[rows])
    return values


def _asked(target: Target, done: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """The target, (a, b), of images (a, C, *space): `end` where done is 1, `start` where 0, (a or 1, b, pixels)."""
    first, last = (each.detach().flatten(2)[:, None] for each in (start, end))
    mixed = torch.lerp(first, last, done[:, :, None].to(start))  # faster than torch.where, and as exact at 0 and 1
    return _told(target, mixed.reshape(-1, *start.shape[1:])).view(len(start), -1)


def _all_told(target: Target, x: Tensor, batch: int) -> Tensor:
    return torch.cat([_told(target, x[rows].detach().clone()) for rows in _slices(len(x), batch)])


@torch.no_grad()
def _told(target: Target, images: Tensor) -> Tensor:
    value = target(images)
    if not isinstance(value, Tensor) or value.shape != (len(images),) or not value.isfinite().all():
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise AnomalyError(f"the target gave {got} for images {tuple(images.shape)}; expected finite ({len(images)},)")
    return value


def _slices(number: int, most: int) -> list[slice]:
    """From 0 to a number in parts of about the same size, none larger than `most` (than 1, where that is 0)."""
    parts = -(-number // max(1, most))
    return [slice(*each) for each in pairwise(number * k // parts for k in range(parts + 1))]


def _counts(maps: Tensor, steps: int) -> Tensor:
    """How many pixels are changed after each step, (steps + 1,)."""
    pixels = maps[0].numel()
    if not 0 < steps <= pixels:
        raise AnomalyError(f"steps is {steps}; expected 1 to {pixels}, the pixels of a map")
    return torch.arange(steps + 1, device=maps.device) * pixels // steps


def _checked(x: Tensor, maps: Tensor, baseline: Tensor | None) -> Tensor:
    """The baseline of every image, when images, maps and baseline fit each other."""
    if x.ndim not in (4, 5) or not len(x) or not x.is_floating_point():
        raise AnomalyError(f"expected images (N, C, *space) of floats, at least one; got {tuple(x.shape)} {x.dtype}")
    fits = (len(x), 1, *x.shape[2:])
    if tuple(maps.shape) != fits or not maps.isfinite().all():
        raise AnomalyError(f"got maps {tuple(maps.shape)} for images {tuple(x.shape)}; expected finite ones, {fits}")
    origin = torch.full_like(x[:1], -1.0) if baseline is None else baseline
    if tuple(origin.shape) not in (tuple(x.shape), (1, *x.shape[1:])):
        raise AnomalyError(f"the baseline has shape {tuple(origin.shape)}; expected {tuple(x.shape)}, or one for all")
    return origin.detach().to(x).expand_as(x)
