"""The best of a neural recommender's checkpoints, by validation cases."""

from __future__ import annotations

import polars as pl
import torch

from augrec.data.cases import known_of
from augrec.data.ranking import Judging
from augrec.recommenders.base import Recommender

_MAX_CASES = 2_000


class Best:
    """Keeps the weights that validated best; without cases the last ones.

    Args:
        recommender: whose weights they are.
        network: what holds them.
        cases: validation cases; of many every so-manieth is looked at.
        judging: by which metric, its mean over cases, and among which items.

    Attributes:
        step: the step whose weights are kept.
        weights: those weights.
    """

    def __init__(
        self,
        recommender: Recommender,
        network: torch.nn.Module,
        cases: pl.DataFrame | None,
        judging: Judging,
    ) -> None:
        self._recommender, self._network, self._judging = recommender, network, judging
        self._among = judging.among(recommender.items)
        self._cases = (
            None
            if cases is None or cases.is_empty()
            else cases.gather_every(-(-len(cases) // _MAX_CASES))
        )
        self._value = -1.0
        self.step, self.weights = 0, _copy(network)

    def offer(self, step: int) -> dict[str, float]:
        """Keep the network's weights if they are better than any before; gives what was measured,
        for the curve."""
        if self._cases is None:
            self.step, self.weights = step, _copy(self._network)
            return {}
        if (value := self._measure(self._cases)) > self._value:
            self._value, self.step, self.weights = value, step, _copy(self._network)
        return {self._judging.metric: value}

    def _measure(self, cases: pl.DataFrame) -> float:
        judging, items = self._judging, self._recommender.items
        ranked, _ = self._recommender.rank(
            cases["history"], judging.cutoff, known=known_of(cases), among=self._among
        )
        return float(judging.values(ranked, cases["targets"], items).mean())


def _copy(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
