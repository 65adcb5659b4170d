"""grouprec 0.0.3: its aggregators, on its own EASE and on scores that are given.

    run_grouprec.py TASK.npz RANKS.npz

The task holds user and item of each row, members of each group (padded with -1), the scores of
EASE for each member of each group, and for each test its group and 101 candidates, the chosen item
first. Ranks are those of the chosen item, ties at mid rank where the aggregator gives scores.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
from grouprec import Dataset, GroupRecommender, aggregators
from grouprec.backends import EASE

NAMES = ("AVG", "LMS", "MPL", "MUL", "AVGNM", "BDC", "GFAR", "EPFuzzDA", "GreedyLM", "SPGreedy")
REG = 250.0
"""Its default."""


class Given:
    """A recommender with the scores of others: (users, items)."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    def fit(self, dataset: Dataset) -> Given:
        return self

    def score(self, users: object, items: object = None) -> np.ndarray:
        found = self.scores[np.asarray(users, int)]
        return found if items is None else found[:, np.asarray(items, int)]


def rank(model: GroupRecommender, members: np.ndarray, candidates: np.ndarray) -> float:
    """Of the first candidate."""
    try:
        scores = model.group_scores(members, items=candidates.tolist())
    except (NotImplementedError, TypeError, AttributeError):
        # the first would win ties
        mixed = np.random.default_rng(candidates[0]).permutation(candidates).tolist()
        order = model.recommend(members, len(candidates), candidates=mixed)
        return 1.0 + list(order).index(candidates[0])
    above, tied = (scores[1:] > scores[0]).sum(), (scores[1:] == scores[0]).sum()
    return float(1 + above + tied / 2)


def main(task_path: str, ranks_path: str) -> None:
    task = np.load(task_path)
    table = pd.DataFrame({"user": task["user"], "item": task["item"]})
    everything = np.arange(int(task["n_items"]))
    users = np.arange(int(task["n_users"]))
    data = Dataset(table, users=users, items=everything)
    began = time.process_time()
    own = EASE(reg=REG).fit(data)
    found = {"seconds EASE": np.array(time.process_time() - began)}
    for place, base in (("own", own), ("given", Given(task["scores"]))):
        for name in NAMES:
            began = time.process_time()
            aggregator = aggregators.get(name)
            model = GroupRecommender.from_fitted(base, aggregator, data, normalize="minmax")
            ranks = []
            for group, candidates in zip(task["group"], task["candidates"], strict=True):
                members = task["members"][group]
                ranks.append(rank(model, members[members >= 0], candidates))
            found[f"{place} {name}"] = np.array(ranks)
            found[f"seconds {place} {name}"] = np.array(time.process_time() - began)
            print(place, name, flush=True)
    np.savez(ranks_path, allow_pickle=False, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
