"""How good a recommender's heads are: the chance of events, and the value of ratings.

What is predicted is what the user of a case does next: the case's targets, each with all that came of it, every event
with its value: what was clicked and then bought is a positive of both heads. Targets that the recommender does not know
are left out, since it can say nothing of them.

A head of kind "probability" is asked about the case's targets of its event, the positives, and about items drawn evenly
from the catalogue without those the user ever meets, the same ones for every head. The drawn ones weigh as much together
as the case's positives do, so that a prediction of a half says nothing: that is what the head promises, see
`augrec.recommenders._heads`. A head of kind "value" is asked about the targets that have a value.

| metric | |
|---|---|
| auc | chance that a positive is given more than a drawn item, ties one half; 0.5 by guessing |
| log_loss | mean of -ln of the probability given to what happened, in nats; 0.693 by guessing |
| ece | expected calibration error: mean over 15 bins of equal width of |mean prediction - share of positives| |
| mse, rmse, mae | of values, in their unit (mse: squared) |

They are measured over all pairs, by weight, and auc, log_loss, mse and mae for each case as well, to be paired.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from augrec.data.cases import known_of
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.recommenders._heads import HasHeads, Head
from augrec.seeds import rng

N_DRAWN: Final = 100
"""Items drawn for each case."""
N_BINS: Final = 15
PER_CASE: Final = ("auc", "log_loss", "mse", "mae")
_CELLS = 2**20
"""At most so many pairs are asked about at once."""
_LEAST = 1e-7
"""In the log-loss probabilities are kept so far from 0 and 1."""


def evaluate_heads(
    recommender: HasHeads, cases: pl.DataFrame, events: pl.DataFrame, seed: int
) -> tuple[pl.DataFrame, dict[str, dict[str, float | int | None]]]:
    """Ask every head about every case.

    Args:
        recommender: a fitted one with heads.
        cases: see `augrec.data.cases.CASES`.
        events: canonical, those of the cases' users among them; of a user and an item at most one of each kind.
        seed: of the drawn items.

    Returns:
        One row for each head and case it is asked about: user_id, slice, head, n (the case's positives or values), and
        Float64 columns `PER_CASE`, null where a metric is not the head's or not defined; and by the head's name
        {"n", metric…} over all pairs, None where a metric is not defined.
    """
    pairs = _pairs(recommender.items, cases, events, seed)
    said = _ask(recommender, cases, pairs)
    tables, overall = [], {}
    for head in recommender.heads:
        table, numbers = _measure(head, pairs.with_columns(said=said[head.name]), cases)
        tables.append(table)
        overall[head.name] = numbers
    return pl.concat(tables), overall


def auc(
    happened: np.ndarray, said: np.ndarray, weights: np.ndarray, groups: np.ndarray, n_groups: int
) -> np.ndarray:
    """The chance that a positive is given more than a negative, ties one half, in each group; NaN where one class lacks.

    Args:
        happened: bool (n,).
        said: float (n,).
        weights: at least 0, float (n,).
        groups: 0 … n_groups - 1, int (n,).
        n_groups: their number.

    Returns:
        float64 (n_groups,).
    """
    order = np.lexsort((said, groups))
    happened, said, weights, groups = happened[order], said[order], weights[order], groups[order]
    fresh = np.ones(len(said), np.bool_)
    fresh[1:] = (groups[1:] != groups[:-1]) | (said[1:] != said[:-1])
    run = np.cumsum(fresh) - 1  # pairs of one group that are given the same
    negative = np.bincount(run, weights * ~happened)
    negatives = np.bincount(groups, weights * ~happened, minlength=n_groups)
    positives = np.bincount(groups, weights * happened, minlength=n_groups)
    before_group = np.concatenate([[0.0], np.cumsum(negatives)[:-1]])
    below = (np.cumsum(negative) - negative)[run] - before_group[groups] + 0.5 * negative[run]
    won = np.bincount(groups, weights * happened * below, minlength=n_groups)
    return _share(won, positives * negatives)


def log_loss(
    happened: np.ndarray, said: np.ndarray, weights: np.ndarray, groups: np.ndarray, n_groups: int
) -> np.ndarray:
    """The weighted mean of -ln of the probability given to what happened, in each group; arguments as of `auc`."""
    given = np.clip(np.where(happened, said, 1 - said.astype(np.float64)), _LEAST, 1 - _LEAST)
    lost = np.bincount(groups, weights * -np.log(given), minlength=n_groups)
    return _share(lost, np.bincount(groups, weights, minlength=n_groups))


def calibration_error(happened: np.ndarray, said: np.ndarray, weights: np.ndarray) -> float | None:
    """Mean over bins of equal width, by weight, of |mean prediction - share of positives|; None without pairs.

    The expected calibration error of Naeini, Cooper, Hauskrecht (2015); arguments as of `auc`.
    """
    bins = np.minimum((said * N_BINS).astype(np.int64), N_BINS - 1)
    gap = np.bincount(bins, weights * (said.astype(np.float64) - happened), minlength=N_BINS)
    return float(np.abs(gap).sum() / weights.sum()) if weights.sum() > 0 else None


def _pairs(items: ItemIndex, cases: pl.DataFrame, events: pl.DataFrame, seed: int) -> pl.DataFrame:
    """What is asked: case, item (positions), event, value (of targets; else null), wanted; sorted by case.

    A target has a row for each of its events.
    """
    case = pl.Series("case", np.arange(len(cases)))
    met = events.select(C.USER, C.ITEM, C.EVENT, C.VALUE).join(cases, on=C.USER, how="semi")
    targets = (
        cases.select(case, C.USER, pl.col("targets").alias(C.ITEM))
        .explode(C.ITEM, empty_as_null=False, keep_nulls=False)
        .join(met, on=[C.USER, C.ITEM], how="left", maintain_order="left")
    )
    wanted = targets.select(
        "case", pl.Series("item", items.encode(targets[C.ITEM])), C.EVENT, C.VALUE, wanted=True
    ).filter(pl.col("item") >= 0)
    positions = rng(seed, "heads").integers(len(items), size=(len(cases), N_DRAWN), dtype=np.int32)
    drawn = pl.DataFrame(
        {"case": np.repeat(np.arange(len(cases)), N_DRAWN), "item": positions.ravel()}
    ).with_columns(cases[C.USER].gather(pl.Series(np.repeat(np.arange(len(cases)), N_DRAWN))))
    own = met.select(C.USER, pl.Series("item", items.encode(met[C.ITEM]).astype(np.int32)))
    strange = drawn.join(own, on=[C.USER, "item"], how="anti", maintain_order="left").select("case", "item")
    return pl.concat([wanted, strange.with_columns(wanted=False)], how="diagonal").sort(
        "case", maintain_order=True
    )


def _ask(recommender: HasHeads, cases: pl.DataFrame, pairs: pl.DataFrame) -> dict[str, np.ndarray]:
    """What each head says of each pair, float32 (pairs,)."""
    case, item = pairs["case"].to_numpy(), pairs["item"].to_numpy()
    counts = np.bincount(case, minlength=len(cases))
    column = np.arange(len(case)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = int(counts.max(initial=0))
    found = {head.name: np.zeros(len(pairs), np.float32) for head in recommender.heads}
    size = max(1, _CELLS // max(1, width))
    known = known_of(cases)
    for start in range(0, len(cases), size):
        here = slice(*np.searchsorted(case, [start, start + size]))
        batch = cases.slice(start, size)
        asked = np.full((len(batch), width), -1, np.int64)
        asked[case[here] - start, column[here]] = item[here]
        histories = Histories.from_lists(
            batch["history"], recommender.items, known=None if known is None else known.slice(start, size)
        )
        for name, table in recommender.predict_events(histories, asked).items():
            found[name][here] = table[case[here] - start, column[here]]
    return found


def _measure(
    head: Head, pairs: pl.DataFrame, cases: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, float | int | None]]:
    """One head's rows and numbers, from pairs with what it said, column `said`."""
    positive = pl.col("wanted") & (pl.col(C.EVENT) == head.event)
    if head.kind == "value":
        asked = pairs.filter(positive & pl.col(C.VALUE).is_finite())
    else:
        asked = pairs.filter(positive | ~pl.col("wanted"))
    case, happened = asked["case"].to_numpy(), asked["wanted"].to_numpy()
    said = asked["said"].to_numpy()
    n = np.bincount(case[happened], minlength=len(cases))
    if head.kind == "value":
        errors = said.astype(np.float64) - asked[C.VALUE].cast(pl.Float64).to_numpy()
        columns = {
            "mse": _share(np.bincount(case, errors**2, minlength=len(cases)), n),
            "mae": _share(np.bincount(case, np.abs(errors), minlength=len(cases)), n),
        }
        pooled = _pooled_values(errors)
    else:
        drawn = np.bincount(case[~happened], minlength=len(cases))
        weights = np.where(happened, 1.0, (n / np.maximum(drawn, 1))[case])
        columns = {
            name: measure(happened, said, weights, case, len(cases))
            for name, measure in (("auc", auc), ("log_loss", log_loss))
        }
        pooled = _pooled_chances(happened, said, weights)
    numbers = {name: pl.Series(columns.get(name, np.full(len(cases), np.nan))) for name in PER_CASE}
    table = cases.select(C.USER, "slice", head=pl.lit(head.name), n=pl.Series(n)).with_columns(**numbers)
    table = table.with_columns(pl.col(PER_CASE).fill_nan(None)).filter(pl.col("n") > 0)
    return table, {"n": int(n.sum()), **pooled}


def _pooled_chances(happened: np.ndarray, said: np.ndarray, weights: np.ndarray) -> dict[str, float | None]:
    one = np.zeros(len(said), np.int64)
    return {
        "auc": _finite(auc(happened, said, weights, one, 1)),
        "log_loss": _finite(log_loss(happened, said, weights, one, 1)),
        "ece": calibration_error(happened, said, weights),
    }


def _pooled_values(errors: np.ndarray) -> dict[str, float | None]:
    if not len(errors):
        return dict.fromkeys(("mse", "rmse", "mae"))
    mse = float((errors**2).mean())
    return {"mse": mse, "rmse": mse**0.5, "mae": float(np.abs(errors).mean())}


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; NaN where that is 0 / 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _finite(value: np.ndarray) -> float | None:
    return float(value[0]) if np.isfinite(value[0]) else None
