"""Explains the words of a page where they stand: a link to the page's own glossary, shown on hover and focus.

The texts are those of the documentation's glossary, `words.md`, which both read.
"""

import html
import re
from functools import cache
from pathlib import Path

# How a word may stand in a text, and what the glossary calls it; whatever is so short or so common that it would be
# found where it is not meant (p, z, value) is linked by the pages themselves.
_SAID = {
    "AUROC": "AUROC", "AUROCs": "AUROC", "average precision": "average precision", "flagged": "flagged", "gap": "gap",
    "unlike": "unlike", "limit": "limit", "Read as a chance": "read as a chance", "As a chance": "read as a chance",
    "as a chance": "read as a chance", "interval": "interval", "intervals": "interval", "Intervals": "interval",
    "clustered": "clustered", "heatmap": "heatmap", "heatmaps": "heatmap", "odds": "odds ratio",
    "odds ratio": "odds ratio", "hazard ratio": "hazard ratio", "hazard ratios": "hazard ratio",
    "trivial score": "baseline", "trivial baseline": "baseline", "held-out normals": "held-out normals",
    "alpha": "alpha", "calibration": "calibration", "Holm": "Holm", "DeLong": "DeLong", "bootstrap": "bootstrap",
    "logit scale": "logit scale", "cross-fitted": "cross-fitted", "load": "load", "group map": "group map",
    "adjusted": "adjusted", "matched sets": "matched set", "shufflings": "permutation", "TFCE": "TFCE", "tfce": "TFCE",
    "counterfactual": "counterfactual", "counterfactuals": "counterfactual", "attribution": "attribution",
    "validity": "validity", "judge": "judge", "prevalence": "prevalence", "Sensitivity": "sensitivity at specificity",
    "sensitivity": "sensitivity at specificity", "Jacobian": "Jacobian", "false positives": "false positive",
    "false negatives": "false negative", "ROC curve": "ROC curve", "precision": "precision", "recall": "recall",
    "family-wise": "family-wise error", "residuals": "residual",
}  # fmt: skip
_FOUND = re.compile(rf"(?<![\w&#-])({'|'.join(sorted(map(re.escape, _SAID), key=len, reverse=True))})(?![\w-])")
_LINK = re.compile(r'<a class="word" href="#about-([\w-]+)" aria-describedby="[\w-]+">([^<]*)</a>')
_HEADING = re.compile(r'<h2 id="([\w-]+)">(.*?)</h2>', re.DOTALL)


@cache
def glossary() -> dict[str, str]:
    """What each word means, in a sentence or two, as the documentation has it."""
    text = (Path(__file__).parent / "words.md").read_text(encoding="utf-8")
    entries = re.findall(r"^(\w[^\n]*)\n((?:  [^\n]+\n)+)", text, re.MULTILINE)
    return {word: " ".join(meaning.replace("`", "").split()) for word, meaning in entries}


def name_of(word: str) -> str:
    """A word as an address within a page."""
    return re.sub(r"\W+", "-", word.lower()).strip("-")


def linked(text: str, word: str | None = None) -> str:
    """HTML of a text that leads to what a word means; `word` is what the glossary calls it, if something else."""
    name = name_of(word or text)
    if (word or text) not in glossary():
        raise KeyError(f"{word or text!r} is not in the glossary, words.md")
    return f'<a class="word" href="#about-{name}" aria-describedby="about-{name}">{html.escape(text)}</a>'


def explained(text: object) -> str:
    """HTML of a text, with the words in it that the glossary knows linked to it."""
    return _FOUND.sub(lambda found: linked(found[0], _SAID[found[0]]), html.escape(str(text)))


def once(body: str) -> str:
    """A page with each word linked the first time in a section, so that links stay few."""
    return "".join(_first(part) for part in re.split(r"(?=<h2 )", body))


def _first(part: str) -> str:
    seen: set[str] = set()

    def keep(found: re.Match[str]) -> str:
        again = found[1] in seen
        seen.add(found[1])
        return found[2] if again else found[0]

    return _LINK.sub(keep, part)


def used(body: str) -> list[tuple[str, str, str]]:
    """Address, word and meaning of what a page links, in the order of the alphabet."""
    names = {found[1] for found in _LINK.finditer(body)}
    known = sorted(glossary().items(), key=lambda each: each[0].lower())
    return [(name_of(word), word, meaning) for word, meaning in known if name_of(word) in names]


def chapters(body: str) -> list[tuple[str, str]]:
    """Address and title (HTML) of each chapter of a page, as its headings say."""
    return [(name, _LINK.sub(r"\2", title)) for name, title in _HEADING.findall(body)]
