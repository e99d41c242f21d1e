"""What a committee tells of itself in the model card: members, weights, what each made of drawn findings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from anomaly.detectors.leaning import Leaning
from anomaly.statistics import metrics

STORY = """## How the committee was made

No label was seen. Of the variance of brightness in the normals the place explains {alignment:.0%}: the more, the more
the texture of places counts.{to_come}

| member | what it sees | weight | agreement | AUROC, drawn findings | precision of its map | draws |{more}
|---|---|---|---|---|---|---|{line}
{rows}

Agreement: rank correlation with the whole committee over held-out normals. Drawn findings: soft balls that are
brighter, darker, blurred, roughened or taken from elsewhere, in held-out normals; they choose who draws, never who
ranks, since findings that were drawn tell little of diseases. {sure}
"""
SURE = "How much each counts is a rule that was chosen on other images; on yours another weighting may be better."
ALONE = "There is one member, so nothing was chosen."
TO_COME = """

It looked at images to come, without labels: {ill} of them lie beyond normals, as far as it sees. Members that
tell these images from held-out normals count more, the more of them are ill and the more images there are."""


def made(values: Tensor, joined: np.ndarray, precision: Sequence[float]) -> list[dict[str, Any]]:
    """What members (and last, all together) made of drawn findings, and how they agree.

    Args:
        values: (2, n, members) for held-out normals as they are, and with something drawn in.
        joined: the committee's, of both in turn, (2 n,).
        precision: of each member's map, and of all together.
    """
    count = values.shape[1]
    truth = np.repeat([0, 1], count)
    found = [
        {
            "precision": precision[k],
            "auroc": metrics.auroc(truth, values[..., k].flatten().cpu().numpy()),
            "agreement": _agreement(values[0, :, k].cpu().numpy(), joined[:count]),
        }
        for k in range(values.shape[2])
    ]
    return [*found, {"member": "together", "precision": precision[-1], "auroc": metrics.auroc(truth, joined)}]


def story(evidence: Sequence[dict[str, Any]], *, alignment: float, seen: Leaning | None) -> str:
    """The members and what was found of them, as Markdown; "" where nothing was looked at."""
    if not evidence:
        return ""
    rows = [
        f"| {e['member']} | {e.get('why', '')} | {_told(e.get('weight'))} | {_told(e.get('agreement'))} | "
        f"{_told(e['auroc'])} | {_told(e['precision'])} | {'yes' if e.get('draws') else ''} |"
        + (f" {_told(e.get('told'))} |" if seen else "")
        for e in evidence
    ]
    return STORY.format(
        alignment=alignment, rows="\n".join(rows), sure=SURE if len(evidence) > 2 else ALONE,
        more=" AUROC, normals against images to come |" if seen else "", line="---|" if seen else "",
        to_come=TO_COME.format(ill=_share(seen)) if seen else "",
    )  # fmt: skip


def _share(seen: Leaning) -> str:
    return f"about {seen.ill:.0%}" if seen.enough else "too few to say how many"


def _told(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.2f}"


def _agreement(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import rankdata

    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
