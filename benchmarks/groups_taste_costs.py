"""What group_gan's live update costs and does, and how taste groups grow with the users.

    python -m benchmarks.groups_taste_costs

A shop is simulated. Live update: a model learns from the first part of its events, then meets the
rest in their order, event by event; before each event the user's list is made, with groups that
follow and with groups as learnt, and the event's item is looked for. Growth: users with 20 items
each of 2,000, drawn by popularity; features of 100 steps, whatever the number of users.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import polars as pl
import torch

from augrec.data.columns import Columns as C
from augrec.data.histories import Histories
from augrec.data.ranking import top_k
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import difference
from augrec.recommenders._taste.clusters import k_means
from augrec.recommenders._taste.live import LiveTastes
from augrec.recommenders.group_gan import GroupGan
from benchmarks import tables

K, ITEMS, LENGTH = 10, 2_000, 20
PARTS_OF_GROWTH = ("features", "vectors", "k-means", "group_gan")


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    if given.only is not None:
        _one_size(given.only)
        return
    lines = _live(given) + _growth(given.sizes)
    command = tables.command_line("benchmarks.groups_taste_costs")
    heading = "Taste groups: the live update, and growth"
    tables.write("groups-taste-costs", heading, lines, command, tables.own_versions())


def _live(given: argparse.Namespace) -> list[str]:
    shop = ShopConfig(n_users=given.users, n_items=500, n_interactions=40 * given.users, drift=0.5)
    rows = simulate(shop, 0).interactions.sort(C.TIMESTAMP, maintain_order=True)
    rows = rows.unique([C.USER, C.ITEM], keep="first", maintain_order=True)
    cut = int(0.7 * len(rows))
    steps = {"steps": given.steps} if given.steps else {}
    model = GroupGan(steps, seed=0).fit(TrainingData(rows[:cut]))
    known: dict[str, list[str]] = {}
    for user, item in rows[:cut].select(C.USER, C.ITEM).iter_rows():
        known.setdefault(user, []).append(item)
    live, later = LiveTastes(model), rows[cut:].select(C.USER, C.ITEM)
    every = max(1, len(later) // given.lists)
    found: dict[str, list[float]] = {"follow": [], "learnt": []}
    seconds, moved = 0.0, 0
    begun = _memory()
    for number, (user, item) in enumerate(later.iter_rows()):
        history = known.setdefault(user, [])
        place = int(model.items.encode(pl.Series([item]))[0])
        if history and place >= 0 and number % every == 0:
            for name, now in (("follow", live), ("learnt", None)):
                model.live = now
                found[name].append(_gain(model, history, place))
        before = live._users[user].group if user in live._users else None
        start = time.process_time()
        after = live.apply(user, item, history)
        seconds += time.process_time() - start
        moved += before is not None and after != before
        history.append(item)
    sides = np.array(found["follow"]), np.array(found["learnt"])
    gain = difference(*sides, confidence=0.95, samples=2000, seed=0)
    table = [
        ["NDCG@10 of the next event, groups follow", f"{gain.candidate_mean:.4f}"],
        ["the same, groups as learnt", f"{gain.comparator_mean:.4f}"],
        ["difference", tables.gain(gain.difference, gain.ci_low, gain.ci_high)],
        ["events after training", f"{len(later):,}"],
        ["of them moved their user to another group", f"{moved:,}"],
        ["lists measured", f"{len(sides[0]):,}"],
        ["CPU milliseconds per event", f"{1000 * seconds / len(later):.2f}"],
        ["users in memory", f"{len(live):,}"],
        ["peak memory added, kB per user", f"{(_memory() - begun) / max(len(live), 1):.1f}"],
    ]
    return [
        f"Live update, {cut:,} events of {given.users:,} users learnt, seed 0. A user's own vector "
        "is read from the history either way; only the groups' vectors differ:",
        tables.markdown(["", ""], table),
    ]


def _gain(model: GroupGan, history: list[str], wanted: int) -> float:
    """NDCG@10 of one wanted item."""
    lists = pl.Series([history], dtype=pl.List(pl.String))
    known = Histories.from_lists(lists, model.items)
    scores = model.score(known)
    scores[0, known.items] = -np.inf
    found = np.flatnonzero(top_k(scores, K)[0][0] == wanted)
    return float(1 / np.log2(found[0] + 2)) if len(found) else 0.0


def _growth(sizes: list[int]) -> list[str]:
    """Each size in a process of its own, so that its peak memory is its own."""
    table = []
    for size in sizes:
        words = [sys.executable, "-m", "benchmarks.groups_taste_costs", "--only", str(size)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        facts = json.loads(done.stdout.splitlines()[-1])
        table.append(
            [
                f"{size:,}",
                *(f"{facts[part]:.1f}" for part in PARTS_OF_GROWTH),
                f"{facts['gib']:.2f}",
            ]
        )
    return [
        f"Growth: {LENGTH} items each of {ITEMS:,}; CPU seconds of 100 steps of the features, of "
        "the users' vectors, of k-means with 10 groups, and of 100 steps of the whole group_gan; "
        "peak GiB of the process:",
        tables.markdown(["users", "features", "vectors", "k-means", "group_gan", "GiB"], table),
    ]


def _one_size(size: int) -> None:
    """One size of `_growth`, printed as JSON."""
    random = np.random.default_rng(0)
    chances = 1 / np.arange(1, ITEMS + 1)
    drawn = random.choice(ITEMS, (size, LENGTH), p=chances / chances.sum())
    rows = pl.DataFrame({C.USER: np.repeat(np.arange(size), LENGTH), C.ITEM: drawn.ravel()}).unique(
        maintain_order=True
    )
    data = TrainingData(
        rows.select(pl.format("u{}", C.USER).alias(C.USER), pl.col(C.ITEM).cast(pl.String))
    )
    assert len(data.histories) == size
    facts: dict[str, float] = {}
    start = time.process_time()

    def lap(name: str) -> None:
        nonlocal start
        facts[name] = time.process_time() - start
        start = time.process_time()

    parts = {"grouping": "none", "vae": False, "gan": False, "live": False}
    features = GroupGan({**parts, "steps": 100, "width": 32}, seed=0).fit(data)
    lap("features")
    points = features.user_vectors(data.histories)
    lap("vectors")
    k_means(points, 10, 0)
    lap("k-means")
    GroupGan({"steps": 100}, seed=0).fit(data)
    lap("group_gan")
    print(json.dumps(facts | {"gib": _memory() / 2**20}))


def _memory() -> int:
    """Peak memory of this process, kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2_000, help="of the simulated shop")
    parser.add_argument("--steps", type=int, help="of the model that follows; default: auto")
    parser.add_argument("--lists", type=int, default=2_000, help="lists measured")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10**4, 10**5, 10**6])
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
