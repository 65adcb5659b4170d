"""People who decide together once: how every strategy serves the mean and the worst member.

    python -m benchmarks.groups_ad_hoc FOLDER    # MovieTweetings: ratings.dat, movies.dat, also .gz

The users and films with at least 20 ratings among one another, of all ratings of 6 and more. EASE
learns from the first 80 % of time; members are users with at least five films before and three
after. Groups of 2, 4 and 8: at random, of users alike (nearest by cosine of what they saw), and of
users apart (least alike among 200 drawn ones). Nothing is known of what they chose: a list of ten
films that no member has seen is judged by what each member saw later. No choice is made by these
numbers, so there is no validation part.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data import sources
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.ranking import top_k
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import interval
from augrec.evaluation.group_metrics import Members, member_metrics
from augrec.groups.base import find, names
from augrec.groups.scores import score_group
from augrec.recommenders.base import find as find_recommender
from benchmarks import tables
from benchmarks.default_sets import frequent

SIZES: Final = (2, 4, 8)
N_GROUPS, K, SEED = 200, 10, 0
STRATEGIES: Final = tuple(name for name in names() if not find(name).learns)
Draw = Callable[[np.random.Generator, int], np.ndarray]


def read(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training rows and later rows."""
    rows = clean(sources.read("movietweetings", folder).interactions, {"rating": 6.0})
    before = -1
    while before != len(rows):
        before = len(rows)
        for key in (C.ITEM, C.USER):
            rows = frequent(rows, key, 20)
    cut = rows[C.TIMESTAMP].quantile(0.8)
    return rows.filter(pl.col(C.TIMESTAMP) < cut), rows.filter(pl.col(C.TIMESTAMP) >= cut)


def kinds(profiles: np.ndarray) -> dict[str, Draw]:
    """How groups are put together, from rows of unit length, float32 (n, n_items)."""
    n = len(profiles)

    def random(draw: np.random.Generator, size: int) -> np.ndarray:
        return draw.choice(n, size, replace=False)

    def similar(draw: np.random.Generator, size: int) -> np.ndarray:
        first = int(draw.integers(n))
        likeness = profiles @ profiles[first]
        likeness[first] = np.inf
        return np.argsort(-likeness, kind="stable")[:size]

    def divergent(draw: np.random.Generator, size: int) -> np.ndarray:
        among = draw.choice(n, min(200, n), replace=False)
        group = [int(among[0])]
        while len(group) < size:
            likeness = (profiles[among] @ profiles[group].T).max(axis=1)
            likeness[np.isin(among, group)] = np.inf
            group.append(int(among[likeness.argmin()]))
        return np.array(group)

    return {"random": random, "similar": similar, "divergent": divergent}


def cell(name: str, found: Members, average: Members) -> list[str]:
    """Mean and worst member, each with the interval of its difference to `average` by groups."""
    told = [f"{found.mean.mean():.4f}", f"{found.worst.mean():.4f}"]
    if name == "average":
        return [told[0], "", told[1], ""]
    differences = []
    for one, other in ((found.mean, average.mean), (found.worst, average.worst)):
        low, high = interval(one - other, confidence=0.95, samples=2_000, seed=SEED)
        differences.append(tables.gain(float((one - other).mean()), low, high))
    return [told[0], differences[0], told[1], differences[1]]


def measure(folder: Path) -> None:
    """All cells, and the table."""
    train, later = read(folder)
    model = find_recommender("ease")().fit(TrainingData(train))
    history = dict(train.group_by(C.USER).agg(C.ITEM).iter_rows())
    after = dict(later.group_by(C.USER).agg(C.ITEM).iter_rows())
    able = sorted(
        user for user in history if len(history[user]) >= 5 and len(after.get(user, [])) >= 3
    )
    profiles = np.zeros((len(able), len(model.items)), np.float32)
    for row, user in enumerate(able):
        profiles[row, model.items.encode(pl.Series(history[user]))] = 1
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    parts = []
    for size in SIZES:
        for kind, put_together in kinds(profiles).items():
            draw = rng(SEED, f"{kind} groups of {size}")
            groups = [put_together(draw, size) for _ in range(N_GROUPS)]
            lists: dict[str, list[np.ndarray]] = {}
            targets = []
            for group in groups:
                users = [able[row] for row in group]
                scores = score_group(model, [history[user] for user in users])
                for name in STRATEGIES:
                    chosen, _ = find(name)().choose(scores, K)
                    lists.setdefault(name, []).append(chosen)
                for name, values in (
                    ("one member's own list", scores.members[0]),
                    ("popular", scores.popularity),
                ):
                    able_ = np.where(scores.allowed, values, np.finfo(np.float32).min)
                    lists.setdefault(name, []).append(
                        top_k(able_[None].astype(np.float32), K)[0][0]
                    )
                found = [model.items.encode(pl.Series(after[user])) for user in users]
                allowed = [one[(one >= 0) & scores.allowed[one]] for one in found]
                targets.append([one for one in allowed if len(one)])
            kept = [place for place, one in enumerate(targets) if len(one) > 1]
            judged = {
                name: member_metrics(_at(chosen, kept), _at(targets, kept))
                for name, chosen in lists.items()
            }
            rows = [[name, *cell(name, one, judged["average"])] for name, one in judged.items()]
            header = ["", "mean member", "against average", "worst member", "against average"]
            parts += [
                f"## {size} people, {kind}: {len(kept)} groups",
                tables.markdown(header, rows),
            ]
            print(parts[-2])
            print(parts[-1])
    about = (
        f"{len(train):,} ratings of {train[C.USER].n_unique():,} people and {len(model.items):,} "
        f"films to learn from; {len(able):,} people may be members. NDCG@{K} of the group's one "
        "list for what each member saw later, films that a member had seen before left out; "
        "groups with at least two such members count. Differences to `average` with 95 % "
        "intervals over groups, bold where they lie on one side of 0."
    )
    tables.write(
        "groups-ad-hoc-movietweetings",
        "Groups put together for once: MovieTweetings",
        [about, *parts],
        tables.command_line("benchmarks.groups_ad_hoc"),
        tables.own_versions(),
    )


def _at(values: Sequence, places: Sequence[int]) -> list:
    return [values[place] for place in places]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="holds ratings.dat and movies.dat, also gzipped")
    measure(parser.parse_args().folder)


if __name__ == "__main__":
    main()
