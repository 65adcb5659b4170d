"""The latent space of users: their vectors in a trained recommender, whitened."""

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
from augrec.recommenders.ials import Ials

_USERS_AT_ONCE = 2**16
_ITEM_STATE = ("items", "popularity", "vectors", "penalty")
_WEIGHT = "unobserved_weight"

_FLATTEST = 1e-3
"""Directions in which vectors vary less than this share of the widest are scaled up no further."""


@dataclass(frozen=True)
class Whitening:
    """Vectors centred, turned to their principal axes and scaled to variance 1.

    Attributes:
        mean: float32 (d,).
        axes: float32 (d, d), by columns: a vector x becomes (x - mean) @ axes.
        back: float32 (d, d), its inverse.
    """

    mean: Tensor
    axes: Tensor
    back: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Whitening:
        """Measure vectors float32 (n, d)."""
        mean = vectors.mean(dim=0)
        centred = vectors - mean
        spreads, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        scales = spreads.clamp(min=0).sqrt()
        scales = scales.clamp(min=_FLATTEST * float(scales.max()) + 1e-12)
        axes, back = directions / scales, scales[:, None] * directions.T
        # laid out as they are read back: the same sums
        return cls(mean, axes.contiguous(), back.contiguous())

    def whiten(self, vectors: Tensor) -> Tensor:
        """Float32 (n, d)."""
        return (vectors - self.mean) @ self.axes

    def restore(self, whitened: Tensor) -> Tensor:
        """What `whiten` was given, float32 (n, d)."""
        return whitened @ self.back + self.mean

    def state(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays to store, their names beginning with `prefix`."""
        return {f"{prefix}{name}": tensor.cpu().numpy() for name, tensor in vars(self).items()}

    @classmethod
    def from_state(
        cls, state: Mapping[str, np.ndarray], prefix: str, device: torch.device
    ) -> Whitening:
        """Read back what `state` gave."""
        return cls(
            *(
                torch.as_tensor(state[f"{prefix}{name}"], device=device)
                for name in cls.__dataclass_fields__
            )
        )


@dataclass(frozen=True)
class UserSpace:
    """iALS's users, whitened. Only items' vectors are kept; a user is solved for from a history.

    Attributes:
        recommender: a fitted iALS.
        whitening: of the training users' vectors.
        device: of the vectors it gives.
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
                number of those met. A weight that does not shrink as catalogues grow would shrink
                the vectors of large ones to nothing.
            seed: of iALS.
            device: of the vectors it gives.

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
        """Whitened vectors float32 (n, d) of any users."""
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
