"""What the computer has, or what is left of it to the container that this runs in: cores and memory."""

import os
from pathlib import Path

MEMORY, CONTROL = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def allowed_cores() -> float | None:
    """By the control group, version 2 or 1; None where it sets no limit."""
    if told := _group("cpu.max"):
        most, period = told.split()
        return None if most == "max" else int(most) / int(period)
    most, period = _group("cpu/cpu.cfs_quota_us"), _group("cpu/cpu.cfs_period_us")
    return int(most) / int(period) if most and period and int(most) > 0 else None


def memory() -> tuple[int | None, int | None]:
    """Bytes in all and bytes free, of the control group where that has less; None for what nothing says."""
    sizes = _sizes()
    total, free = sizes.get("MemTotal"), sizes.get("MemAvailable")
    if total is None and hasattr(os, "sysconf"):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _group("memory.max") or _group("memory/memory.limit_in_bytes")
    if limit and limit != "max" and (total is None or int(limit) < total):
        used = int(_group("memory.current") or _group("memory/memory.usage_in_bytes") or 0)
        left = int(limit) - used
        total, free = int(limit), left if free is None else min(free, left)
    return total, free


def _sizes() -> dict[str, int]:
    """What Linux says of its memory, in bytes; nothing elsewhere."""
    try:
        rows = [line.split() for line in MEMORY.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0].rstrip(":"): 1024 * int(row[1]) for row in rows if len(row) > 1}


def _group(name: str) -> str:
    """What the control group of this process says, "" where it does not."""
    try:
        return (CONTROL / name).read_text().strip()
    except OSError:
        return ""
