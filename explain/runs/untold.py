"""That nobody can tell how much a run would draw if labels meant nothing: kept beside its weights, told of its maps."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from anomaly.errors import RunError
from anomaly.files import write_whole

UNTOLD = "cannot_tell.json"
"""Of its own, so that nothing that reads a calibration, older versions among them, takes it for one."""
VERDICT = "cannot tell"


@dataclass(frozen=True)
class Untold:
    """What a call of `calibrate` found that could tell nothing.

    Args:
        run: identity of its weights.
        sentence: what is said of all maps, in plain words.
        persons: whose held-out cases were explained.
        changed: those of them in whom more than next to nothing is changed.
        largest: the largest change of any held-out case, 0 to 2.
        unreadable: held-out cases that cannot be read.
    """

    run: str
    sentence: str
    persons: int
    changed: int
    largest: float
    unreadable: int = 0


def write_untold(folder: Path, untold: Untold) -> None:
    """Write it beside the weights."""
    text = json.dumps({"verdict": VERDICT, **asdict(untold)}, indent=1, allow_nan=False)
    write_whole(folder / UNTOLD, text + "\n")


def read_untold(folder: Path, identity: str) -> Untold | None:
    """What was found of the weights that are there; None where nothing was, or of other weights.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / UNTOLD
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.pop("verdict") != VERDICT:
            raise ValueError(f"its verdict is not {VERDICT!r}")
        found = Untold(**facts)
        if not (isinstance(found.run, str) and isinstance(found.sentence, str) and found.sentence):
            raise ValueError("it says nothing")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path} cannot be read ({error}); remove it, and calibrate again") from error
    return found if found.run == identity else None
