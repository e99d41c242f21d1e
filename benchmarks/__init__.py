"""Scripts that measure what `docs/benchmarks.md` reports; each runs alone: `python -m benchmarks.NAME --help`."""
