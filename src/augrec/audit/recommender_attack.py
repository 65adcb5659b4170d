"""The membership attack on a trained recommender: which users was it trained on?

The attacker has a user's history and the recommender's scores, and takes it as evidence of
membership how far up the user's own items are ranked: minus the mean logarithm of their ranks. Two
ways of asking are tried, the stronger one counts:

* whole: the whole history is shown, and its own items are looked up;
* hidden: the first half of the history is shown, and the items of the second half are looked up.

The groups are those of `augrec.audit.membership`: training users and held-out validation users,
weighted so that their lengths are distributed alike. The control is the same attack on the order of
popularity among both groups, each counted alike, so that it gives away neither: how far its area
lies above 0.5 is how far the groups differ by themselves.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from augrec.audit.config import AuditConfig
from augrec.audit.membership import area, attack, effective_size, length_weights
from augrec.audit.nearest import some_rows
from augrec.core.seeds import rng
from augrec.data.histories import Histories
from augrec.recommenders.base import Recommender

_AT_ONCE = 256


@dataclass(frozen=True)
class RecommenderAttack:
    """How well a recommender's scores tell its training users from others.

    Attributes:
        auc, low, high: area under the ROC curve of the stronger attack, and its bootstrap interval
            over users; 0.5 is guessing.
        tpr_at_1_percent_fpr: share of members found at 1 % false positives.
        control: the area of the same attack on the order of popularity among both groups.
        by_attack: the area of each attack.
        n_effective: effective number of users on the smaller side.
    """

    auc: float
    low: float
    high: float
    tpr_at_1_percent_fpr: float
    control: float
    by_attack: dict[str, float]
    n_effective: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def attack_recommender(
    model: Recommender,
    members: pl.DataFrame,
    others: pl.DataFrame,
    config: AuditConfig,
    seed: int,
) -> RecommenderAttack | None:
    """Attack a trained model; None with too few users on a side (`min_attacked`), or without a
    length in common.

    Args:
        model: the recommender.
        members, others: interactions of training users and of users that it was not trained on, at
            least user_id and item_id; users with fewer than two known items take no part.
        config: how many users are compared, and the bootstrap.
        seed: of the users that are drawn, and of the bootstrap.
    """
    sides = [
        _some(Histories.from_interactions(rows, model.items), config, seed)
        for rows in (members, others)
    ]
    if min(map(len, sides)) < 2:
        return None
    weights = length_weights(sides[0].lengths, sides[1].lengths)
    n_effective = min(map(effective_size, weights))
    if n_effective < config.min_attacked:
        return None
    counts = [np.bincount(side.items, minlength=side.n_items) for side in sides]
    popularity = sum(count / count.sum() for count in counts)
    found, controls = {}, {}
    for name, shown in (("whole", 1.0), ("hidden", 0.5)):
        (own, plain), (other, other_plain) = (
            _evidence(model, popularity, side, shown) for side in sides
        )
        found[name] = attack(
            own,
            other,
            *weights,
            samples=config.bootstrap_samples,
            confidence=config.confidence,
            seed=seed,
        )
        controls[name] = area(plain, other_plain, *weights)
    best = max(found, key=lambda name: found[name].auc - max(controls[name] - 0.5, 0.0))
    chosen = found[best]
    return RecommenderAttack(
        auc=chosen.auc,
        low=chosen.low,
        high=chosen.high,
        tpr_at_1_percent_fpr=chosen.tpr_at_1_percent_fpr,
        control=controls[best],
        by_attack={name: one.auc for name, one in found.items()},
        n_effective=n_effective,
    )


def _some(histories: Histories, config: AuditConfig, seed: int) -> Histories:
    histories = histories.take(np.flatnonzero(histories.lengths >= 2))
    return histories.take(some_rows(len(histories), config.max_users, rng(seed, "attacked")))


def _evidence(
    model: Recommender, popularity: np.ndarray, histories: Histories, shown: float
) -> tuple[np.ndarray, np.ndarray]:
    """By the model and by popularity, float64 (n,) each.

    Args:
        model: the recommender.
        popularity: float64 (n_items,).
        histories: at least two items each.
        shown: the share of a history that the model is given, from its beginning; the rest is
            looked up, or all of it if nothing is left.
    """
    place = np.arange(len(histories.items)) - np.repeat(histories.indptr[:-1], histories.lengths)
    given = place < np.repeat(np.ceil(shown * histories.lengths), histories.lengths)
    asked = histories if shown == 1 else histories.keep(~given)
    read = histories.keep(given)
    by_model = [
        -_log_ranks(model.score(some), wanted)
        for some, wanted in zip(read.batches(_AT_ONCE), asked.batches(_AT_ONCE), strict=True)
    ]
    popular = np.log(_ranks(popularity[None])[0])
    rows = np.repeat(np.arange(len(asked)), asked.lengths)
    sums = np.bincount(rows, popular[asked.items], minlength=len(asked))
    return np.concatenate(by_model), -sums / asked.lengths


def _log_ranks(scores: np.ndarray, asked: Histories) -> np.ndarray:
    """The mean logarithm of the ranks of what is asked for, float64 (n,)."""
    rows = np.repeat(np.arange(len(asked)), asked.lengths)
    logs = np.log(_ranks(scores)[rows, asked.items])
    return np.bincount(rows, logs, minlength=len(asked)) / asked.lengths


def _ranks(scores: np.ndarray) -> np.ndarray:
    """From 1, int64 (n, n_items); equal scores in the order of the items."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, scores.shape[1] + 1)[None], axis=1)
    return ranks
