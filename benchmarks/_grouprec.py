"""grouprec, in an environment of its own, on the same rows and tests."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from augrec.data.histories import ItemIndex
from augrec.groups.scores import GroupScores
from benchmarks.environments import python_of

_RUNNER = Path(__file__).parent / "runners/run_grouprec.py"


class Found(NamedTuple):
    """What grouprec made of the tests.

    Attributes:
        ranks: {aggregator and whose scores it had: rank of the chosen item, (c,)}.
        seconds: {the same, and "EASE": CPU seconds}.
    """

    ranks: dict[str, np.ndarray]
    seconds: dict[str, float]


def measure(
    users: pl.DataFrame,
    items: ItemIndex,
    members: Mapping[str, Sequence[str]],
    scores: Mapping[str, GroupScores],
    group: Sequence[str],
    candidates: np.ndarray,
) -> Found:
    """Rank the tests by grouprec's aggregators.

    Args:
        users: user_id, item_id.
        items: all of them.
        members: {group: ids}.
        scores: what our EASE says of each group, for the rows "given".
        group: of each test.
        candidates: positions, the chosen one first, (c, 101).

    Raises:
        SystemExit: its environment is not there.
    """
    python = python_of("grouprec")
    if not python.exists():
        raise SystemExit("build grouprec's environment first: python -m benchmarks.environments")
    names = list(members)
    rows = [(name, user) for name in names for user in members[name]]
    people = sorted(set(users["user_id"]) | {user for _, user in rows})
    place = {user: number for number, user in enumerate(people)}
    largest = max(len(members[name]) for name in names)
    padded = np.full((len(names), largest), -1, np.int64)
    given = np.zeros((len(people), len(items)), np.float32)
    for number, name in enumerate(names):
        mine = [place[user] for user in members[name]]
        padded[number, : len(mine)] = mine
        given[mine] = scores[name].members
    places = {name: one for one, name in enumerate(names)}
    with tempfile.TemporaryDirectory() as folder:
        task, ranks = Path(folder) / "task.npz", Path(folder) / "ranks.npz"
        np.savez(
            task,
            user=np.array([place[user] for user in users["user_id"]]),
            item=items.encode(users["item_id"]),
            n_items=len(items),
            n_users=len(people),
            members=padded,
            scores=given,
            group=np.array([places[name] for name in group]),
            candidates=candidates,
        )
        subprocess.run([str(python), str(_RUNNER), str(task), str(ranks)], check=True)
        found = dict(np.load(ranks))
    seconds = {
        name.removeprefix("seconds "): float(found.pop(name))
        for name in list(found)
        if name.startswith("seconds ")
    }
    return Found(found, seconds)
