"""EASE: a linear item-to-item model in closed form; strong, fast, and hard to beat on catalogues it
can hold."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from scipy.linalg import lapack

from augrec.core.config import Auto, BaseConfig
from augrec.core.data_shape import DataShape
from augrec.core.errors import ConfigError, RefusedError
from augrec.core.memory import USABLE, gib, machine_memory
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.recommenders._blended import BlendedRecommender
from augrec.recommenders._product import dense_product, is_large


class EaseConfig(BaseConfig):
    """How strongly EASE is held back, and how large it may grow."""

    l2: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Penalty on the weights. auto: larger for more users and denser data, see `penalty`."""
    popularity_blend: float = Field(3.0, ge=0)
    """A history of n distinct items gets popularity_blend / (1 + n) × popularity added, both it and
    the personal scores being measured by their root mean square over the catalogue."""
    dtype: Literal["float64", "float32"] = "float64"
    """Precision of the solve; float32 needs half the memory. What is stored is float32."""
    max_items: int = Field(12_000, ge=1)
    """Larger catalogues are refused: the solve holds about 2 × items² numbers (2.3 GB at 12,000 in
    float64)."""


_SMALLEST, _LARGEST = 5.0, 1000.0


def penalty(shape: DataShape, config: EaseConfig) -> float:
    """The l2 that silences directions of XᵀX that chance alone would show.

    Ridge regression shrinks a direction whose eigenvalue is s by s / (s + l2). What chance adds to
    eigenvalues goes up to the square of `DataShape.noise`: with that as l2, what looks like chance
    keeps at most half of its size, and what stands out of it more. The penalty of a well-specified
    regression does not grow with the number of users for ever: published optima for a hundred
    thousand users and more lie between 200 and 1,000.
    """
    return float(f"{min(max(shape.noise**2, _SMALLEST), _LARGEST):.3g}")


class Ease(BlendedRecommender):
    """Embarrassingly shallow autoencoder (Steck 2019, arXiv 1905.03375), with weighted and
    unobserved entries.

    Minimises ||Y - XB||² + l2 ||B||² with diag(B) = 0, where X holds sqrt(weight) for observed
    entries and Y for all. With P = (XᵀX + l2 I)⁻¹ and G = P XᵀY the solution is B = G - P diag(g),
    g_j = G_jj / P_jj; where all is observed that is B_ij = -P_ij / P_jj, as in the paper. A user of
    weight 2 counts as two users.
    """

    Config = EaseConfig
    draws = False
    cost = "solving"
    rules: ClassVar = {"l2": penalty}
    search_space: ClassVar = {
        "l2": {"low": 5.0, "high": 5000.0, "log": True},
        "popularity_blend": {"low": 0.01, "high": 100.0, "log": True},
    }
    regularisation: ClassVar = {"l2": ["x0.25", "x4"]}

    def check_fits(self, shape: DataShape) -> None:
        """Refuse a catalogue larger than `max_items`, or than the memory there is."""
        config, there = self.config, machine_memory()
        needed = 2 * shape.n_items**2 * np.dtype(config.dtype).itemsize
        if shape.n_items > config.max_items or needed > USABLE * there:
            raise RefusedError(
                f"EASE would need about {gib(needed)} for a catalogue of {shape.n_items:,} items; "
                f"max_items allows {config.max_items:,}, the memory is {gib(there)}",
                where="params.yaml, recommenders.ease.max_items",
                fix="take ials or item_knn; or raise prepare.min_item_interactions, or max_items "
                "if there is memory for it",
            )

    def _fit(self, data: TrainingData) -> None:
        self.check_fits(data.shape)
        histories = data.histories
        seen = histories.matrix(observed_only=True).astype(self.config.dtype).sqrt()
        inverse = _inverse(_product(seen, seen), self.config.l2)
        diagonal = inverse.diagonal().copy()
        if histories.observed.all():
            inverse /= -diagonal
            self._weights = inverse
        else:
            solved = inverse @ _product(seen, histories.matrix().astype(self.config.dtype).sqrt())
            inverse *= solved.diagonal() / diagonal
            solved -= inverse
            self._weights = solved
        np.fill_diagonal(self._weights, 0)
        self._weights = np.ascontiguousarray(self._weights, dtype=np.float32)

    def _personal(self, histories: Histories) -> np.ndarray:
        seen = histories.matrix()
        seen.data[:] = 1
        return seen @ self._weights

    def contributions(self, histories: Histories, targets: np.ndarray) -> np.ndarray:
        """Exactly: the weight B from the item to the target; popularity's part belongs to no
        item."""
        user = np.repeat(np.arange(len(histories)), histories.lengths)
        return self._weights[histories.items[:, None], targets[user]]

    def _model_state(self) -> dict[str, np.ndarray]:
        return {"weights": self._weights}

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._weights = state["weights"]


def _product(left: sp.csr_matrix, right: sp.csr_matrix) -> np.ndarray:
    """leftᵀ right, dense (n, n), column by column in memory, as LAPACK wants it."""
    right_t = sp.csr_matrix(right.T)
    return dense_product(right_t, left, large=is_large(right_t, left)).T


def _inverse(gram: np.ndarray, l2: float) -> np.ndarray:
    """(gram + l2 I)⁻¹ by Cholesky, in the memory of `gram`."""
    gram[np.diag_indices_from(gram)] += l2
    potrf, potri = lapack.get_lapack_funcs(("potrf", "potri"), (gram,))
    factor, failed = potrf(gram, lower=True, overwrite_a=True)
    if failed:
        raise ConfigError(
            "EASE's matrix cannot be inverted at this precision",
            where="params.yaml, recommenders.ease",
            fix="raise l2, or set dtype to float64",
        )
    inverse, _ = potri(factor, lower=True, overwrite_c=True)
    for column in range(len(inverse) - 1):  # potri fills the lower triangle only
        inverse[column, column + 1 :] = inverse[column + 1 :, column]
    return inverse
