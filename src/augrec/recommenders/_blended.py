"""A recommender whose scores are personal ones plus popularity in proportion to them."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from augrec.data.histories import Histories
from augrec.recommenders._blend import add_popularity, relative_weight, sizes_of
from augrec.recommenders.base import Recommender


class BlendedRecommender(Recommender):
    """A subclass implements `_personal`, and has the config key `popularity_blend`."""

    @abstractmethod
    def _personal(self, histories: Histories) -> np.ndarray:
        """The scores without popularity's part, a fresh float32 (B, n_items)."""

    def _scores(self, histories: Histories) -> np.ndarray:
        scores = self._personal(histories)
        add_popularity(scores, self.popularity, self._weigh_popularity(histories, scores))
        return scores

    def popularity_weights(self, histories: Histories) -> np.ndarray:
        """In proportion to the personal scores."""
        return self._weigh_popularity(histories, self._personal(histories))

    def _weigh_popularity(self, histories: Histories, personal: np.ndarray) -> np.ndarray:
        lengths, blend = histories.matrix().getnnz(1), self.config.popularity_blend
        return relative_weight(sizes_of(personal), self.popularity, lengths, blend)
