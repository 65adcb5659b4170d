"""How much members count for each item is learned from what groups chose."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Self

import numpy as np
from pydantic import Field
from scipy.special import log_softmax, softmax

from augrec.core.config import BaseConfig
from augrec.core.errors import InputError
from augrec.groups.base import Strategy
from augrec.groups.choices import Choices
from augrec.groups.scores import GroupScores

EVIDENCE = ("own", "mean", "least", "most", "popularity", "met", "taken", "taken_again")
"""What the learned weights multiply, besides the members under attention."""


class AttentionConfig(BaseConfig):
    """Config of the learned weights."""

    l2: float = Field(1e-3, ge=0.0)
    """Ridge penalty of the weights."""
    max_steps: int = Field(200, ge=1)
    """Steps of L-BFGS."""


class Attention(Strategy):
    """A softmax regression on what groups chose: the score of an item is Σ_u a_u s_u + w · evidence
    with attention a = softmax_u(p s_u + q log(1 + activity_u)) over members, s being standardised
    scores. p above 0 leans to the member who likes the item most, below 0 to the one who likes it
    least; q to the experienced. After AGREE (Cao et al. 2018, SIGIR, 645-654), with few weights.

    Attributes:
        weights: float64 (3 + evidence,): p, q, that of the members under attention, and w.
    """

    Config = AttentionConfig
    learns = True
    weights: np.ndarray

    def fit(self, choices: Choices) -> Self:
        """Maximise the likelihood of the choices among the items beside them."""
        from scipy.optimize import minimize  # slow to import, and a service does not fit

        candidates = choices.candidates()
        shape = candidates.shape
        largest = max(len(one.members) for one in choices.groups)
        members = np.zeros((*shape, largest))
        activity = np.full((len(candidates), 1, largest), 0.0)
        present = np.zeros((len(candidates), 1, largest), np.bool_)
        evidence = np.zeros((*shape, len(EVIDENCE)))
        for number, group in enumerate(choices.groups):
            rows = np.flatnonzero(choices.group == number)
            if len(rows):
                m, (scores, facts) = len(group.members), _parts(group)
                members[rows, :, :m] = scores[:, candidates[rows]].transpose(1, 2, 0)
                activity[rows, 0, :m], present[rows, 0, :m] = np.log1p(group.activity), True
                evidence[rows] = facts[candidates[rows]]
        loss = partial(_loss, members, activity, present, evidence, self.config.l2)
        start = np.zeros(3 + len(EVIDENCE))
        steps = {"maxiter": self.config.max_steps}
        self.weights = minimize(loss, start, jac=True, method="L-BFGS-B", options=steps).x
        return self

    @classmethod
    def of_weights(cls, weights: Sequence[float]) -> Self:
        """The strategy as it was fitted."""
        found = cls()
        found.weights = np.array(weights, np.float64)
        return found

    def _scores(self, group: GroupScores) -> np.ndarray:
        if not hasattr(self, "weights"):
            raise InputError(
                "attention has not learned from choices of groups",
                where="groups, strategy",
                fix="fit it to what groups chose, or take a strategy that learns nothing",
            )
        scores, facts = _parts(group)
        lean = self.weights[0] * scores + self.weights[1] * np.log1p(group.activity)[:, None]
        attention = softmax(lean, axis=0)
        found: np.ndarray = (attention * scores).sum(axis=0) * self.weights[2]
        return found + facts @ self.weights[3:]

    def _state(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.weights = state["weights"]


def _parts(group: GroupScores) -> tuple[np.ndarray, np.ndarray]:
    """The members' standardised scores, float32 (m, n), and the evidence, float32 (n, e)."""
    members = _standardised(group.members)
    popular = np.log1p(group.popularity * len(group.popularity))
    facts = (
        _standardised(group.own),
        members.mean(axis=0),
        members.min(axis=0),
        members.max(axis=0),
        popular,
        group.met / len(members),
        group.taken > 0,
        group.taken > 1,
    )
    return members, np.stack([np.asarray(one, np.float32) for one in facts], axis=1)


def _standardised(scores: np.ndarray) -> np.ndarray:
    spread = scores.std(axis=-1, keepdims=True)
    found: np.ndarray = (scores - scores.mean(axis=-1, keepdims=True)) / np.where(
        spread > 0, spread, 1.0
    )
    return found.astype(np.float32)


def _loss(
    members: np.ndarray,
    activity: np.ndarray,
    present: np.ndarray,
    evidence: np.ndarray,
    l2: float,
    weights: np.ndarray,
) -> tuple[float, np.ndarray]:
    """The mean negative log-likelihood of the first candidate of each choice, and its gradient.

    Args:
        members: standardised scores, (c, d, m).
        activity: log(1 + activity), (c, 1, m).
        present: which members there are, bool (c, 1, m).
        evidence: (c, d, e).
        l2: ridge penalty.
        weights: (3 + e,).
    """
    lean = np.where(present, weights[0] * members + weights[1] * activity, -np.inf)
    attention = softmax(lean, axis=2)
    together = (attention * members).sum(axis=2)
    logarithm = log_softmax(weights[2] * together + evidence @ weights[3:], axis=1)
    slope = np.exp(logarithm)
    slope[:, 0] -= 1
    slope /= len(members)  # of the loss by the total of each candidate, (c, d)
    apart = attention * (members - together[:, :, None])  # of `together` by `lean`
    gradient = np.concatenate(
        [
            [
                weights[2] * (slope * (apart * members).sum(axis=2)).sum(),
                weights[2] * (slope * (apart * activity).sum(axis=2)).sum(),
                (slope * together).sum(),
            ],
            np.einsum("cd,cde->e", slope, evidence),
        ]
    )
    loss = -logarithm[:, 0].mean() + l2 * (weights**2).sum()
    return float(loss), gradient + 2 * l2 * weights
