"""What becomes of damaged files: valid ones are made, changed at random, and pushed through the doors of the program.

    python -m benchmarks.mutants [--files 100000] [--seed 0] [--out FOLDER]

Images go through `read` and are prepared, tables through `read_cohort`, runs through `Run.open`, and are then told of
and used. Each mutant must come out usable or be refused by one of the program's own errors. The same seed makes the
same mutants.

With --out, mutants that came out otherwise are kept there with `failures.jsonl`, which says what they met. Do not hand
them on: what makes other software fail is told to its makers first.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from time import monotonic

from benchmarks.mutant_pool import Outcome, mutant, outcomes
from benchmarks.mutant_seeds import Seed, images
from benchmarks.mutant_tables import cohorts, runs

COLUMNS = ("fine", "refused", "traceback", "hang", "memory", "crash")
WANTED = COLUMNS[:2]
KEPT = 3  # mutants of one kind and outcome that are kept


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="kinds of files whose name holds this")
    parser.add_argument("--out", type=Path, help="gets what fails; not to be handed on")
    arguments = parser.parse_args()
    seeds = [seed for seed in (*images(), *cohorts(), *runs()) if (arguments.only or "") in seed.kind]
    begun, counts = monotonic(), Counter[tuple[str, str]]()
    for outcome in outcomes(seeds, arguments.seed, arguments.files):
        kind = seeds[outcome.number % len(seeds)].kind
        counts[kind, outcome.result] += 1
        if arguments.out is not None and outcome.result not in WANTED:
            _keep(arguments.out, seeds, arguments.seed, outcome, counts[kind, outcome.result])
        if sum(counts.values()) % 5000 == 0:
            print(f"{sum(counts.values())} files, {monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    print(_table(counts))
    print(f"\n{arguments.files:,} files, seed {arguments.seed}, {(monotonic() - begun) / 60:.1f} minutes", flush=True)


def _table(counts: Counter[tuple[str, str]]) -> str:
    """Markdown: a row for each kind of file, and one for all."""
    kinds = list(dict.fromkeys(kind for kind, _ in sorted(counts)))
    rows = {kind: [counts[kind, column] for column in COLUMNS] for kind in kinds}
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    lines = [["kind of file", "files", *COLUMNS], ["---"] * (2 + len(COLUMNS))]
    lines += [[kind, f"{sum(found):,}", *(f"{count:,}" for count in found)] for kind, found in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _keep(out: Path, seeds: list[Seed], seed: int, outcome: Outcome, nth: int) -> None:
    """Write down what a mutant met, and the first few of a kind themselves."""
    source, files, damaged, change = mutant(seeds, seed, outcome.number)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "failures.jsonl").open("a") as stream:
        stream.write(json.dumps({"kind": source.kind, **vars(outcome), "change": f"{change} of {damaged}"}) + "\n")
    if nth <= KEPT:
        folder = out / outcome.result / f"{outcome.number:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
