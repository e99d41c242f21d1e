"""Finds the truth of each image in a folder of masks: by the same place in it, the id, the name, or what BIDS says."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable
from pathlib import Path, PurePath

import pandas as pd

from anomaly.cohorts.identities import identified, stem
from anomaly.cohorts.results import safe_id, some
from anomaly.errors import EvaluationError
from anomaly.images import find

Key = Hashable | None
_WORDS = (
    r"masks?|dseg|probseg|segm?|segmentations?|labels?|labelmap|lesions?|lesion(?:mask|change|label)|tumou?rs?|roi|gt|"
    r"ground_?truth|truth|annotations?|consensus|haemorrhage|hemorrhage|(?:label|desc|space)-[A-Za-z0-9]+"
)
WORD = re.compile(rf"[ _.-](?:{_WORDS})$", re.IGNORECASE)
"""What names of masks have behind the name of their image."""
TAKEN = re.compile(r"_(?:\d{4}|flair|pdw?|dwi|adc|bold|ct|pet|t1(?:w|c|ce|gd|post|rho)?|t2(?:w|star|starw)?)$", re.I)
"""How an image was taken, as the end of its name says; masks of it often do not."""
ORGAN = re.compile(r"(?:^|[ _.-])(?:(?:desc|label)-)?(?:brain|bet|head|body|lung|knee)(?:[ _.-]?mask)?$", re.IGNORECASE)
"""Masks of what counts of an image, such as brain_mask: no truth of a disease."""
ENTITY = re.compile(r"(?:^|_)([a-z0-9]+)-([A-Za-z0-9+]+)")
OWN = ("label", "desc", "space", "res", "rec", "seg")
"""Entities of BIDS that a mask may have and its image not."""


def beside(folder: Path, images: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """The truth of each image, a path or None, and notes on those that have several.

    The first way that finds any file decides, image by image:

    1. the same path from this folder as from some folder of the image (`p1/scan.nii.gz` of `images/p1/scan.nii.gz`);
    2. the id of the image as the name, or as the path with `_` for slashes (`p1_scan_mask.png`);
    3. the image's name, with `_mask`, `_seg`, `_lesion`, `_label-lesion_mask` or alike behind it;
    4. the same where the image's name ends in how it was taken (`_FLAIR`, `_T1w`, `_0000`);
    5. the entities of BIDS, those aside that only masks have (`label`, `desc`, `space`).

    An image that is scored is never a truth, nor is its mask, nor what is called the mask of an organ. Where one way
    finds several files, that image has none, and a note names them.

    Args:
        folder: of masks; folders in it are looked into.
        images: `id` and `path`, the absolute path of the image, and perhaps `mask`, that of what counts of it.

    Raises:
        EvaluationError: no file in the folder fits an image.
    """
    masks = [each for each in images.get("mask", ()) if isinstance(each, str) and each]
    taken = {Path(each).resolve() for each in [*images["path"], *masks]}
    files = [each for each in find(folder, all_of_it=True) if each.resolve() not in taken]
    files = [each for each in files if not ORGAN.search(stem(each))]
    table = identified(pd.DataFrame({"path": [str(each) for each in files]}), "the truths", folder.absolute())
    truths = [(str(name), file) for name, file in zip(table["id"], files, strict=True)]
    found: list[Path | None] = [None] * len(images)
    torn: dict[str, list[Path]] = {}
    for of_truth, of_image in _ways(folder):
        known: dict[Key, list[Path]] = defaultdict(list)
        for called, file in truths:
            known[of_truth(called, file)].append(file)
        for place, row in enumerate(images.itertuples()):
            name = str(row.id)
            if found[place] is not None or name in torn:
                continue
            keys = of_image(name, Path(str(row.path)))
            fit = list(dict.fromkeys(path for key in keys if key is not None for path in known.get(key, [])))
            if len(fit) > 1:
                torn[name] = fit
            elif fit:
                found[place] = fit[0]
    if not any(found):
        told = f"{next(iter(torn))} fits {some(_names(next(iter(torn.values()))))}" if torn else _unlike(files, images)
        raise EvaluationError(f"no file in {folder} is the truth of one of {len(images)} images: {told}")
    notes = [
        f"{len(torn)} images fit several files of {folder.name} and were taken for images without a truth, such as "
        f"{name} ({some(_names(fit))}); leave one of them there."
        for name, fit in [*torn.items()][:1]
    ]
    return pd.Series(found, index=images.index, dtype=object), notes


def _ways(folder: Path) -> list[tuple[Callable[[str, Path], Key], Callable[[str, Path], list[Key]]]]:
    """How a truth is called, and what the truth of an image may be called, the surest way first."""

    def inside(_: str, path: Path) -> Key:
        return _parts(path.relative_to(folder))

    def tails(_: str, path: Path) -> list[Key]:
        parts = _parts(path)
        return [parts[start:] for start in range(len(parts) - 1)]  # a name alone is the third way

    return [
        (inside, tails),
        (lambda name, _: bare(name), lambda name, _: [safe_id(name)]),
        (lambda _, path: bare(stem(path)), lambda _, path: [stem(path)]),
        (lambda _, path: bare(stem(path)), lambda _, path: [taken_off(stem(path))]),
        (lambda _, path: _entities(path), lambda _, path: [_entities(path)]),
    ]


def bare(name: str) -> str:
    """A name without the words behind it that say that this is a mask."""
    while (short := WORD.sub("", name)) != name:
        name = short
    return name


def taken_off(name: str) -> str | None:
    """The name of an image without how it was taken; None where it does not say."""
    short = TAKEN.sub("", name)
    return short if short != name else None


def _parts(path: Path) -> tuple[str, ...]:
    return (*path.parent.parts, stem(path))


def _entities(path: Path) -> Key:
    """The entities of BIDS that image and mask share; None where a name has no subject."""
    found = {name: value for name, value in ENTITY.findall(stem(path)) if name not in OWN}
    return frozenset(found.items()) if "sub" in found else None


def _names(files: list[Path]) -> list[str]:
    return [PurePath(each).name for each in files]


def _unlike(files: list[Path], images: pd.DataFrame) -> str:
    return f"files are called {some(_names(files))}, images {some(images['id'])}; call each as its image, or ID_mask"
