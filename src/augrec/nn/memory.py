"""Memory of trainings that hold batches of users × items: checked beforehand, and reused."""

from __future__ import annotations

import ctypes

import torch

from augrec.core.errors import RefusedError
from augrec.core.memory import USABLE, gib, machine_memory

_BYTES = 4
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h


def check_memory(
    section: str,
    device: torch.device,
    n_items: int,
    *,
    learnt: int,
    averaged: int,
    batch: int,
    instead: str,
) -> None:
    """Refuse a training that would run out of memory.

    A weight that learns is held with its gradient and Adam's two moments; the weight and the
    moments once more in the checkpoint that training falls back to, which is on the CPU. An average
    is held twice too. A tenth of the memory is left to the data and the process itself; other
    processes are not taken into account.

    Args:
        section: where params.yaml configures the component, e.g. "generators.profile_gan".
        device: where it trains.
        n_items: size of the catalogue.
        learnt: weights that learn, for each item, of all networks.
        averaged: how many of them are averaged.
        batch: numbers held at once for each item while a step is taken.
        instead: components that hold no batches of users × items, for the message.

    Raises:
        RefusedError: it needs more than the device or the machine has.
    """
    active = 4 * learnt + averaged + batch
    needs = {torch.device("cpu"): 3 * learnt + averaged}
    needs[device] = needs.get(device, 0) + active
    for place, numbers in needs.items():
        needed, there = _BYTES * n_items * numbers, memory(place)
        if needed > USABLE * there:
            raise RefusedError(
                f"training {section.rpartition('.')[2]} for {n_items:,} items needs about "
                f"{gib(needed)}, {place} has {gib(there)}",
                where=f"params.yaml, {section}: hidden and batch_size",
                fix="lower hidden and batch_size, raise prepare.min_item_interactions, or take "
                f"{instead}, which hold no batches of users × items",
            )


def memory(device: torch.device) -> int:
    """All bytes of a device; for the CPU those that this process may use."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_memory()


def keep_freed_memory() -> None:
    """Make this process reuse freed memory, at most 2 GiB of it, for the next tensor from here on.

    glibc maps whatever is larger than 32 MiB anew each time, and the kernel clears it page by page:
    with a million items that is half of what a step costs. mallopt(3) turns it off; with other
    C libraries nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
