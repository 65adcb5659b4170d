"""The space users live in: their vectors in a trained recommender."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData
from augrec.generators._latent.whitening import Whitening
from augrec.recommenders.ials import Ials

_USERS_AT_ONCE = 2**16
_ITEM_STATE = ("items", "popularity", "vectors", "penalty")
_WEIGHT = "unobserved_weight"


@dataclass(frozen=True)
class UserSpace:
    """iALS's users, whitened. Only items' vectors are kept; a user is solved for from a history.

    Attributes:
        recommender: a fitted iALS.
        whitening: of the training users' vectors.
        device: where vectors are needed.
    """

    recommender: Ials
    whitening: Whitening
    device: torch.device

    @classmethod
    def learn(
        cls,
        interactions: pl.DataFrame,
        config: Mapping[str, object],
        unobserved_ratio: float,
        seed: int,
        device: torch.device,
    ) -> tuple[UserSpace, Histories, Tensor]:
        """Train iALS; time and memory are linear in interactions, users and items.

        Args:
            interactions: of the training users.
            config: iALS's, but for its unobserved_weight.
            unobserved_ratio: that weight times the number of all pairs of user and item, over the
                number of those met. A weight that does not shrink as catalogues grow would leave
                nothing of the vectors of large ones.
            seed: of iALS.
            device: where vectors are needed.

        Returns:
            The space, the users' histories, and their whitened vectors float32 (n, d) in that
            order.
        """
        pairs = interactions[C.USER].n_unique() * interactions[C.ITEM].n_unique()
        weight = unobserved_ratio * len(interactions) / pairs
        recommender = Ials({**config, _WEIGHT: weight}, seed=seed)
        recommender.fit(TrainingData(interactions))
        histories = Histories.from_interactions(interactions, recommender.items)
        vectors = _solve(recommender, histories, device)
        space = cls(recommender, Whitening.of(vectors), device)
        return space, histories, space.whitening.whiten(vectors)

    @property
    def items(self) -> ItemIndex:
        """The catalogue."""
        return self.recommender.items

    @property
    def item_vectors(self) -> Tensor:
        """iALS's, float32 (n_items, d)."""
        return self.recommender.item_vectors.to(self.device)

    def encode(self, histories: Histories) -> Tensor:
        """Whitened vectors float32 (n, d) of anybody."""
        return self.whitening.whiten(_solve(self.recommender, histories, self.device))

    def state(self) -> dict[str, np.ndarray]:
        """Arrays to store."""
        fitted = self.recommender._state()
        weight = np.array([self.recommender.config.unobserved_weight])
        return {
            **{name: fitted[name] for name in _ITEM_STATE},
            _WEIGHT: weight,
            **self.whitening.state("users_"),
        }

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, np.ndarray],
        config: Mapping[str, object],
        seed: int,
        device: torch.device,
    ) -> UserSpace:
        """Read back what `state` gave."""
        recommender = Ials({**config, _WEIGHT: float(state[_WEIGHT].item())}, seed=seed)
        recommender._restore({name: state[name] for name in _ITEM_STATE})
        return cls(recommender, Whitening.from_state(state, "users_", device), device)


def _solve(recommender: Ials, histories: Histories, device: torch.device) -> Tensor:
    parts = [recommender.user_vectors(part) for part in histories.batches(_USERS_AT_ONCE)]
    return torch.cat(parts).to(device).clone()  # free of inference mode
