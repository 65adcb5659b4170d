"""How good a recommender's heads are: the chance of events, and the value of ratings.

Predicted is what the user of a case does next: the case's targets, each with all its events and
values: an item clicked and then bought is a positive of both heads. Targets that the recommender
does not know are left out, since it cannot score them.

A head of kind "probability" is evaluated on the case's targets of its event, the positives, and on
items drawn uniformly from the catalogue without those the user ever interacts with, the same ones
for every head. The drawn ones together weigh as much as the case's positives, so that 0.5 is
uninformative, as the head promises; see `augrec.recommenders._heads`. A head of kind "value" is
evaluated on the targets that have a value.

| metric | |
|---|---|
| auc | chance that a positive is given more than a drawn item, ties one half; 0.5 by guessing |
| log_loss | mean of -ln of the probability given to what happened, in nats; 0.693 by guessing |
| ece | expected calibration error: mean over 15 bins of equal width of |mean prediction - share of
positives| |
| mse, rmse, mae | of values, in their unit (mse: squared) |

They are measured over all pairs, by weight, overall and in each slice of users' activity; auc,
log_loss, mse and mae for each case as well, for paired comparisons. The draws depend only on the
seed and the size of the catalogue, so that recommenders of one catalogue are evaluated on the same
items. Cases are processed in parts: memory apart from the result does not grow with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data.cases import user_features_of
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.slices import SLICES
from augrec.evaluation.event_metrics import PooledProbabilities, PooledValues, auc, log_loss, share
from augrec.evaluation.user_means import OVERALL
from augrec.recommenders._heads import HasHeads, Head

N_DRAWN: Final = 100
"""Items drawn for each case."""
PER_CASE: Final = ("auc", "log_loss", "mse", "mae")
_CASES_AT_ONCE: Final = 8192
_CELLS: Final = 2**20
"""At most this many pairs are scored at once."""


def evaluate_heads(
    recommender: HasHeads, cases: pl.DataFrame, events: pl.DataFrame, seed: int
) -> tuple[pl.DataFrame, dict[str, dict[str, Any]]]:
    """Evaluate every head on every case.

    Args:
        recommender: a fitted one with heads.
        cases: see `augrec.data.cases.CASES`; fastest where a user's cases are adjacent.
        events: canonical, those of the cases' users among them; of a user and an item at most one
            of each kind.
        seed: of the drawn items; one for all recommenders that are compared.

    Returns:
        One row for each head and case it is evaluated on: user_id, slice, head, n (the case's
        positives or values), and Float64 columns `PER_CASE`, null where a metric is not the head's
        or not defined; and by the head's name {"n", metric…, "slices": {slice: {"n", metric…}}}
        over all pairs, None where a metric is not defined.
    """
    met, random = _Met.of(recommender.items, cases, events), rng(seed, "heads")
    present = [OVERALL, *(name for name in SLICES if name in set(cases["slice"]))]
    pooled = {
        head.name: {
            name: PooledValues() if head.kind == "value" else PooledProbabilities()
            for name in present
        }
        for head in recommender.heads
    }
    tables: dict[str, list[pl.DataFrame]] = {head.name: [] for head in recommender.heads}
    for start in range(0, max(len(cases), 1), _CASES_AT_ONCE):
        batch = cases.slice(start, _CASES_AT_ONCE)
        pairs = _pairs(recommender.items, batch, met.who[start : start + len(batch)], met, random)
        said = _ask(recommender, batch, pairs)
        for head in recommender.heads:
            asked = pairs.with_columns(said=said[head.name])
            tables[head.name].append(_measure(head, asked, batch, pooled[head.name]))
    numbers = {
        head: {name: one.metrics() for name, one in parts.items()} for head, parts in pooled.items()
    }
    overall = {head: {**parts.pop(OVERALL), "slices": parts} for head, parts in numbers.items()}
    return pl.concat([part for head in recommender.heads for part in tables[head.name]]), overall


@dataclass(frozen=True)
class _Met:
    """The items that the users of cases ever interact with.

    Attributes:
        table: user (number in order of their first case), item (position), event, value; sorted by
            user.
        starts: user u's rows are starts[u] … starts[u + 1], int64 (users + 1,).
        who: the user of each case, int64 (cases,).
    """

    table: pl.DataFrame
    starts: np.ndarray
    who: np.ndarray

    @classmethod
    def of(cls, items: ItemIndex, cases: pl.DataFrame, events: pl.DataFrame) -> _Met:
        users = cases.select(C.USER).unique(maintain_order=True).with_row_index("user")
        own = events.select(C.USER, C.ITEM, C.EVENT, C.VALUE).join(
            users, on=C.USER, maintain_order="left_right"
        )
        own = own.select("user", pl.Series("item", items.encode(own[C.ITEM])), C.EVENT, C.VALUE)
        own = own.filter(pl.col("item") >= 0).sort("user", maintain_order=True)
        who = cases.select(C.USER).join(users, on=C.USER, how="left", maintain_order="left")["user"]
        starts = np.searchsorted(own["user"].to_numpy(), np.arange(len(users) + 1))
        return cls(own, starts, who.to_numpy().astype(np.int64))

    def by(self, who: np.ndarray) -> pl.DataFrame:
        """The rows of these users and of those numbered between them."""
        if not len(who):
            return self.table.clear()
        first, last = self.starts[who.min()], self.starts[who.max() + 1]
        return self.table.slice(int(first), int(last - first))


def _pairs(
    items: ItemIndex, cases: pl.DataFrame, who: np.ndarray, met: _Met, random: np.random.Generator
) -> pl.DataFrame:
    """Pairs to score: case, item (positions), event, value (of targets; else null), wanted; sorted
    by case.

    A target has a row for each of its events.
    """
    own, case, user = met.by(who), np.arange(len(cases)), pl.Series("user", who, dtype=pl.UInt32)
    targets = cases.select(pl.Series("case", case), user, pl.col("targets").alias(C.ITEM)).explode(
        C.ITEM, empty_as_null=False, keep_nulls=False
    )
    known = targets.select("case", "user", pl.Series("item", items.encode(targets[C.ITEM]))).filter(
        pl.col("item") >= 0
    )
    wanted = known.join(own, on=["user", "item"], how="left", maintain_order="left_right").select(
        "case", "item", C.EVENT, C.VALUE, wanted=True
    )
    positions = random.integers(len(items), size=(len(cases), N_DRAWN), dtype=np.int32)
    drawn = pl.DataFrame(
        {"case": np.repeat(case, N_DRAWN), "item": positions.ravel()}
    ).with_columns(user=user.gather(np.repeat(case, N_DRAWN)))
    strange = drawn.join(own, on=["user", "item"], how="anti", maintain_order="left").select(
        "case", "item"
    )
    return pl.concat([wanted, strange.with_columns(wanted=False)], how="diagonal").sort(
        "case", maintain_order=True
    )


def _ask(recommender: HasHeads, cases: pl.DataFrame, pairs: pl.DataFrame) -> dict[str, np.ndarray]:
    """Each head's prediction for each pair, float32 (pairs,)."""
    case, item = pairs["case"].to_numpy(), pairs["item"].to_numpy()
    counts = np.bincount(case, minlength=len(cases))
    column = np.arange(len(case)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = int(counts.max(initial=0))
    found = {head.name: np.zeros(len(pairs), np.float32) for head in recommender.heads}
    size = max(1, _CELLS // max(1, width))
    user_features = user_features_of(cases)
    for start in range(0, len(cases), size):
        here = slice(*np.searchsorted(case, [start, start + size]))
        batch = cases.slice(start, size)
        asked = np.full((len(batch), width), -1, np.int64)
        asked[case[here] - start, column[here]] = item[here]
        histories = Histories.from_lists(
            batch["history"],
            recommender.items,
            user_features=None if user_features is None else user_features.slice(start, size),
        )
        for name, table in recommender.predict_events(histories, asked).items():
            found[name][here] = table[case[here] - start, column[here]]
    return found


def _measure(
    head: Head, pairs: pl.DataFrame, cases: pl.DataFrame, pooled: dict[str, Any]
) -> pl.DataFrame:
    """One head's rows, from pairs with its predictions, column `said`; the pairs are added to each
    part of `pooled`."""
    positive = pl.col("wanted") & (pl.col(C.EVENT) == head.event)
    if head.kind == "value":
        asked = pairs.filter(positive & pl.col(C.VALUE).is_finite())
    else:
        asked = pairs.filter(positive | ~pl.col("wanted"))
    case, happened = asked["case"].to_numpy(), asked["wanted"].to_numpy()
    said = asked["said"].to_numpy()
    n = np.bincount(case[happened], minlength=len(cases))
    parts: tuple[np.ndarray, ...]
    if head.kind == "value":
        errors = said.astype(np.float64) - asked[C.VALUE].cast(pl.Float64).to_numpy()
        columns = {
            "mse": share(np.bincount(case, errors**2, minlength=len(cases)), n),
            "mae": share(np.bincount(case, np.abs(errors), minlength=len(cases)), n),
        }
        parts = (errors,)
    else:
        drawn = np.bincount(case[~happened], minlength=len(cases))
        weights = np.where(happened, 1.0, (n / np.maximum(drawn, 1))[case])
        columns = {
            name: measure(happened, said, weights, case, len(cases))
            for name, measure in (("auc", auc), ("log_loss", log_loss))
        }
        parts = happened, said, weights
    of_slice = cases["slice"].gather(case)
    for name, sums in pooled.items():
        own = slice(None) if name == OVERALL else (of_slice == name).to_numpy()
        sums.add(*(part[own] for part in parts))
    numbers = {name: pl.Series(columns.get(name, np.full(len(cases), np.nan))) for name in PER_CASE}
    table = cases.select(C.USER, "slice", head=pl.lit(head.name), n=pl.Series(n)).with_columns(
        **numbers
    )
    return table.with_columns(pl.col(PER_CASE).fill_nan(None)).filter(pl.col("n") > 0)
