"""Which shard an image belongs to: told by its id alone, so that new images leave the others where they are."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from anomaly.errors import AnomalyError

BY = "sha256 of the id"


def shard_of(name: str, shards: int) -> int:
    """The shard, 1 to `shards`, of an id: the first 8 bytes of its SHA-256, big-endian, modulo `shards`, plus 1."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % shards + 1


def of_shard(rows: Sequence[Mapping[str, Any]], shard: tuple[int, int]) -> list[Mapping[str, Any]]:
    """The rows, each with an `id`, of shard (i, N), in their order; all of them for (1, 1)."""
    return [row for row in rows if shard[1] == 1 or shard_of(str(row["id"]), shard[1]) == shard[0]]


def refuse_shard(shard: tuple[int, int]) -> None:
    """Refuse what is no shard.

    Raises:
        AnomalyError: not 1 <= i <= N.
    """
    if not 1 <= shard[0] <= shard[1]:
        raise AnomalyError(f"a shard is i/N with 1 <= i <= N, got {shard[0]}/{shard[1]}")


def sharded_by(shard: tuple[int, int]) -> str | None:
    """What stands beside the results of shards: how images are dealt out; older versions dealt by position."""
    return BY if shard[1] > 1 else None
