"""People who decide together: every strategy on what real groups chose.

    python -m benchmarks.groups FOLDER    # CAMRa2011: groupMember.txt, groupRatingTrain.txt, …

290 groups, and each item that one chose against 100 drawn ones, as in the papers, ties at mid rank;
and against the full catalogue. EASE is solved on rows of users and of groups. What is chosen, λ and
the weights of `attention`, is chosen on ten training rows of each group that are held out, each
with one member's row of the same item. The files may be fetched, not passed on: nothing of them is
kept here. grouprec, of PyPI, ranks the same tests; `python -m benchmarks.environments` makes its
environment.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from augrec.data.histories import ItemIndex
from augrec.evaluation.bootstrap import interval
from augrec.evaluation.group_gate import by_group, judge
from augrec.evaluation.group_metrics import choice_metrics, mid_ranks
from augrec.groups.base import Strategy, find, names
from augrec.groups.choices import Choices
from augrec.groups.held_out import hold_out, others
from augrec.groups.placebos import Groups, shuffled, strangers
from augrec.groups.scores import GroupScores
from benchmarks import _grouprec, tables

HELD_OUT, SEED = 10, 0
LAMBDAS = (50.0, 300.0, 2_000.0, 6_000.0)
N_OTHERS = 100
METRICS = ("hit_rate@5", "ndcg@5", "hit_rate@10", "ndcg@10")
Scores = dict[str, GroupScores]


@dataclass(frozen=True)
class Data:
    """The rows of users and of groups, and the groups' members."""

    users: pl.DataFrame
    groups: pl.DataFrame
    members: dict[str, list[str]]
    items: ItemIndex


def read_camra(folder: Path) -> tuple[Data, pl.DataFrame, np.ndarray]:
    """The training rows; the tests (group_id, item_id); the positions of the items beside them."""

    def rows(name: str, who: str) -> pl.DataFrame:
        names_ = [who, "item_id", "value"]
        table = pl.read_csv(folder / name, separator=" ", has_header=False, new_columns=names_)
        return table.select(pl.col(who, "item_id").cast(pl.String))

    users, groups = rows("userRatingTrain.txt", "user_id"), rows("groupRatingTrain.txt", "group_id")
    tests = rows("groupRatingTest.txt", "group_id")
    lines = (folder / "groupRatingNegative.txt").read_text().splitlines()
    beside = [line.split()[1:] for line in lines]
    named = pl.Series([item for one in beside for item in one])
    known = [users["item_id"], groups["item_id"], tests["item_id"], named]
    items = ItemIndex(pl.concat(known))
    members = dict(
        line.split(" ", 1) for line in (folder / "groupMember.txt").read_text().splitlines()
    )
    data = Data(users, groups, {name: ids.split(",") for name, ids in members.items()}, items)
    return data, tests, items.encode(named).reshape(len(beside), -1)


class DualEase:
    """EASE by the rows rather than the items: far fewer rows than items make it a matter of
    milliseconds. P = (XᵀX + λ)⁻¹ = (1 - Xᵀ (XXᵀ + λ)⁻¹ X) / λ; scores x - xP / diag P."""

    def __init__(self, rows: np.ndarray, strength: float) -> None:
        gram = rows @ rows.T
        gram[np.diag_indices(len(gram))] += strength
        solved = np.linalg.solve(gram.astype(np.float64), rows).astype(np.float32)
        self.rows, self.solved, self.strength = rows, solved, strength
        self.diagonal = (1 - np.einsum("ij,ij->j", rows, solved)) / strength

    def score(self, queries: np.ndarray) -> np.ndarray:
        weighed = (queries - (queries @ self.rows.T) @ self.solved) / self.strength
        found: np.ndarray = queries - weighed / self.diagonal
        return found.astype(np.float32)


def table(rows: pl.DataFrame, who: str, names_: Sequence[str], items: ItemIndex) -> np.ndarray:
    """How often each of `names_` took each item, float32 (n, n_items)."""
    places = {name: place for place, name in enumerate(names_)}
    kept = rows.filter(pl.col(who).is_in(list(names_)))
    found = np.zeros((len(names_), len(items)), np.float32)
    row = np.array([places[name] for name in kept[who]])
    np.add.at(found, (row, items.encode(kept["item_id"])), 1)
    return found


def group_scores(data: Data, members: Groups, own: float, of_members: float) -> Scores:
    """What EASE on rows of users and groups says of every group; everything is allowed, as in the
    papers."""
    people = sorted(set(data.users["user_id"]) | {user for one in members.values() for user in one})
    x = table(data.users, "user_id", people, data.items)
    taken = table(data.groups, "group_id", list(members), data.items)
    y = np.minimum(taken, 1)
    rows = np.vstack([np.minimum(x, 1), y])
    users, places = (
        DualEase(rows, of_members).score(rows[: len(people)]),
        dict(zip(people, range(len(people)), strict=True)),
    )
    groups = (DualEase(rows, own)).score(y)
    popularity = y.sum(axis=0) / y.sum()
    everything = np.ones(len(data.items), np.bool_)
    found = {}
    for number, (name, ids) in enumerate(members.items()):
        mine = [places[one] for one in ids]
        found[name] = GroupScores(
            members=users[mine],
            own=groups[number],
            popularity=popularity.astype(np.float32),
            taken=taken[number].astype(np.int32),
            met=(x[mine] > 0).sum(axis=0).astype(np.int32),
            activity=x[mine].sum(axis=1).astype(np.int64),
            allowed=everything,
        )
    return found


@dataclass(frozen=True)
class Part:
    """Choices to be judged by: the group of each, the chosen item and the items beside it."""

    group: list[str]
    chosen: np.ndarray
    beside: np.ndarray

    def ranks(self, score: Callable[[str], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Among the items beside each choice, and in the full catalogue without the group's other
        choices of this part, float64 (c,)."""
        few, full = np.zeros(len(self.chosen)), np.zeros(len(self.chosen))
        for name in dict.fromkeys(self.group):
            rows = np.flatnonzero(np.array(self.group) == name)
            scores = score(name)
            few[rows] = mid_ranks(scores[self.chosen[rows]], scores[self.beside[rows]])
            for row in rows:
                rest = scores.copy()
                rest[self.chosen[rows]] = -np.inf
                full[row] = mid_ranks(scores[self.chosen[[row]]], rest[None])[0]
        return few, full


def choices_table(folder: Path) -> None:
    """CAMRa2011."""
    data, tests, beside = read_camra(folder)
    pairs = [(name, user) for name, ids in data.members.items() for user in ids]
    members = pl.DataFrame(pairs, schema=["group_id", "user_id"], orient="row")
    held = hold_out(data.groups, members, data.users, HELD_OUT, SEED)
    fewer = replace(data, users=held.interactions, groups=held.known)
    chosen = data.items.encode(held.choices["item_id"])
    valid = Part(
        held.choices["group_id"].to_list(), chosen, others(chosen, len(data.items), N_OTHERS, SEED)
    )
    test = Part(tests["group_id"].to_list(), data.items.encode(tests["item_id"]), beside)
    print("validation and test are read")

    def quality(part: Part, strategy: Strategy, scores: Scores) -> np.ndarray:
        return choice_metrics(part.ranks(lambda name: strategy.scores(scores[name]))[0])["ndcg@5"]

    began = time.process_time()
    tried = {}
    for strength in LAMBDAS:
        scores = group_scores(fewer, data.members, strength, strength)
        tried[strength] = (
            float(quality(valid, find("own_row")(), scores).mean()),
            float(quality(valid, find("average")(), scores).mean()),
        )
    own = max(tried, key=lambda one: tried[one][0])
    of_members = max(tried, key=lambda one: tried[one][1])
    print("lambda on held-out rows:", {k: tuple(round(x, 4) for x in v) for k, v in tried.items()})

    def learned(members_: Groups, facts: slice | None = None) -> Strategy:
        scores = group_scores(fewer, members_, own, of_members)
        numbers = {name: place for place, name in enumerate(members_)}
        which = np.array([numbers[name] for name in valid.group])
        inputs = [_without_own(one) if facts else one for one in scores.values()]
        return find("attention")().fit(Choices(inputs, which, valid.chosen, valid.beside))

    attention, clean = learned(data.members), learned(data.members, slice(1))
    final = group_scores(data, data.members, own, of_members)
    seconds = time.process_time() - began
    people = sorted({user for one in data.members.values() for user in one})
    placebo = shuffled(data.members, SEED)
    placebo_scores = group_scores(data, placebo, own, of_members)
    random_members = strangers(data.members, people, SEED)
    random_scores = group_scores(data, random_members, own, of_members)
    held_scores = group_scores(fewer, data.members, own, of_members)
    held_bare = {name: _without_own(one) for name, one in held_scores.items()}
    arms: dict[str, Callable[[str], np.ndarray]] = {
        "popularity among groups": lambda name: final[name].popularity,
    }
    judged: dict[str, tuple[Strategy, Scores]] = {
        "attention": (attention, held_scores),
        "attention, without what was taken before": (clean, held_bare),
    }
    for name in names():
        if not find(name).learns:
            judged[name] = find(name)(), held_scores
            arms[name] = partial(_scores, find(name)(), final)
    weighed = {w: find("own_row")({"members": w}) for w in (0.3, 1.0)}
    for w, one in weighed.items():
        judged[f"own_row, members at {w}"] = one, held_scores
        arms[f"own_row, members at {w}"] = partial(_scores, one, final)
    bare = {name: _without_own(one) for name, one in final.items()}
    arms |= {
        "attention, without what was taken before": partial(_scores, clean, bare),
        "attention": partial(_scores, attention, final),
        "attention, members shuffled": partial(_scores, learned(placebo), placebo_scores),
        "attention, random members": partial(_scores, learned(random_members), random_scores),
    }
    rows, kept = [], {}
    for name, score in arms.items():
        few, full = test.ranks(score)
        found, whole = choice_metrics(few), choice_metrics(full, (10,))
        chosen_by = zip(test.group, test.chosen, strict=True)
        new = np.array([final[group].taken[item] == 0 for group, item in chosen_by])
        kept[name] = by_group(found["ndcg@5"], np.array([int(group) for group in test.group]))
        low, high = interval(kept[name], confidence=0.95, samples=2_000, seed=SEED)
        on_valid = f"{quality(valid, *judged[name]).mean():.4f}" if name in judged else ""
        rows.append(
            [
                name,
                on_valid,
                *(f"{found[metric].mean():.4f}" for metric in METRICS),
                f"{low:.3f} – {high:.3f}",
                f"{found['ndcg@5'][new].mean():.4f}",
                f"{whole['ndcg@10'].mean():.4f}",
            ]
        )
    repeated = float(np.mean(~new))
    drawn = zip(test.group, test.beside, strict=True)
    taken_beside = float(np.mean([(final[group].taken[some] > 0).mean() for group, some in drawn]))
    decision = judge(
        kept["attention"],
        {
            "popularity among groups": kept["popularity among groups"],
            "without the group: its members' average": kept["average"],
            "its own row alone": kept["own_row"],
            "members shuffled": kept["attention, members shuffled"],
        },
    )
    peer = _grouprec.measure(
        data.users,
        data.items,
        data.members,
        final,
        test.group,
        np.concatenate([test.chosen[:, None], test.beside], axis=1),
    )
    for name, ranks in peer.ranks.items():
        found = choice_metrics(ranks)
        by = by_group(found["ndcg@5"], np.array([int(group) for group in test.group]))
        low, high = interval(by, confidence=0.95, samples=2_000, seed=SEED)
        whose, aggregator = name.split(" ")
        rows.append(
            [
                f"grouprec {aggregator}, {'its own' if whose == 'own' else 'our'} EASE",
                "",
                *(f"{found[metric].mean():.4f}" for metric in METRICS),
                f"{low:.3f} – {high:.3f}",
                f"{found['ndcg@5'][new].mean():.4f}",
                "",
            ]
        )
    header = [
        "",
        "validation NDCG@5",
        *(name.replace("hit_rate", "HR").replace("ndcg", "NDCG") for name in METRICS),
        "NDCG@5, 95 %",
        "NDCG@5, new to the group",
        "NDCG@10, full catalogue",
    ]
    gate = [[name, tables.gain(*one)] for name, one in decision.differences.items()]
    tables.write(
        "groups-camra2011",
        "Groups that decide together: CAMRa2011",
        [
            "One item that the group chose and 100 drawn ones, 1,450 choices of 290 groups; ties "
            "at mid rank.",
            tables.markdown(header, rows),
            f"λ {own:.0f} for groups and {of_members:.0f} for members, chosen like the weights of "
            f"`attention` on {len(valid.chosen):,} held-out training rows. From the rows to the "
            f"fitted strategy with all choices of λ: {seconds:.0f} s of one core.",
            f"grouprec 0.0.3 has its EASE with its default λ (250) on members' rows, "
            f"{peer.seconds['EASE']:.0f} s of CPU time, or our scores of members, brought to one "
            "scale per member as its papers do; its aggregators take "
            f"{min(_ranking(peer)):.1f} to {max(_ranking(peer)):.1f} s for all tests. Nothing of "
            "it was chosen on validation.",
            f"{repeated:.1%} of the chosen items are in their group's own training rows already, "
            f"and {taken_beside:.1%} of the drawn ones: a group's rows are its members' rows, one "
            "after another. `attention` weighs how often the group took an item, and learned that "
            "on held-out rows, which repeat as often; without that its lead is gone. The column "
            f"“new to the group” has the other {int(new.sum()):,} tests.",
            "The gate, differences of NDCG@5 by group:",
            tables.markdown(["attention compared with", "difference"], gate),
            f"Promoted: {'yes' if decision.promoted else 'no'}.",
        ],
        tables.command_line("benchmarks.groups"),
        tables.own_versions(),
    )


def _ranking(peer: _grouprec.Found) -> list[float]:
    return [seconds for name, seconds in peer.seconds.items() if name != "EASE"]


def _scores(strategy: Strategy, scores: Scores, name: str) -> np.ndarray:
    return strategy.scores(scores[name])


def _without_own(one: GroupScores) -> GroupScores:
    nothing = np.zeros_like(one.taken)
    return replace(one, taken=nothing, met=nothing)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="holds groupMember.txt, groupRatingTrain.txt, …")
    arguments = parser.parse_args()
    choices_table(arguments.folder)


if __name__ == "__main__":
    main()
