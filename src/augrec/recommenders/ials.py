"""iALS: matrix factorisation of implicit feedback by alternating least squares; users are solved
for, never stored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch.nn import functional as F

from augrec.core.config import Auto, BaseConfig
from augrec.core.data_shape import DataShape
from augrec.core.errors import ConfigError
from augrec.core.memory import refuse_beyond
from augrec.core.seeds import derive
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.nn.arrays import with_column
from augrec.nn.determinism import reproducible
from augrec.nn.device import Device, choose_device
from augrec.nn.sparse_rows import torch_sparse
from augrec.recommenders._blend import add_popularity, relative_weight
from augrec.recommenders.base import Recommender

_CELLS = 2**23
"""About this number of floats is gathered at once."""
_ROWS = 2**16
"""The number of users or items that are improved at once."""
_MOST = 0.5
"""The most that the penalty may be, as a share of the one that leaves nothing of the vectors."""
_POWER_STEPS = 30
_VECTOR_BYTES, _ENTRY_BYTES = 8, 40
"""Of a number of a vector, before and after its step; of an interaction, by users and by items."""


class IalsConfig(BaseConfig):
    """Size and penalties of the factorisation."""

    factors: int = Field(128, ge=1)
    """Length of the vectors."""
    unobserved_weight: float = Field(0.1, gt=0)
    """How much an item the user did not meet counts as a zero; an item met counts 1."""
    regularisation: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Penalty on the vectors; at most half of what would leave nothing of them, which sparse data
    soon reach. auto: smaller for more users and items, see `penalty`."""
    frequency_exponent: float = Field(1.0, ge=0)
    """The penalty grows with this power of the evidence on a user or item; 0: the same for all."""
    epochs: int = Field(10, ge=1)
    """Passes over users and items."""
    solver_steps: int = Field(3, ge=1)
    """Conjugate gradient steps by which a sweep improves each vector; as many as there are factors
    solve for it."""
    popularity_blend: float = Field(2.0, ge=0)
    """A history of n distinct items gets popularity_blend / (1 + n) × popularity added, both it and
    the personal scores being measured by their root mean square over the catalogue."""
    threads: int = Field(1, ge=1)
    """CPU threads of training; the same number gives the same bytes."""
    device: Device = "auto"
    """Where training and scoring run; auto: a CUDA device if there is one."""


_NOISE_SHARE, _SMALLEST, _LARGEST = 0.35, 1e-4, 0.3


def penalty(shape: DataShape, config: IalsConfig) -> float:
    """The regularisation that silences factors which chance alone would show.

    Penalties p_u |x_u|² and p_i |y_i|² act like a penalty sqrt(p_u p_i) on each singular value of
    the matrix that is factorised. Chance gives singular values up to `DataShape.noise`, so sqrt(p_u
    p_i) is a share of that, and λ that over the evidence which multiplies it, of a typical user and
    item. The share is fitted, see `benchmarks.defaults`.
    """
    zeros, power = config.unobserved_weight, config.frequency_exponent
    user = (shape.user_length + zeros * shape.n_items) ** power
    item = (shape.item_length + zeros * shape.n_users) ** power
    found = _NOISE_SHARE * shape.noise / math.sqrt(user * item)
    return float(f"{min(max(found, _SMALLEST), _LARGEST):.3g}")


class Ials(Recommender):
    """Implicit alternating least squares (Hu, Koren, Volinsky 2008), penalised as in Rendle et al.
    2021, arXiv 2110.14037.

    With u's vector x_u and i's vector y_i it minimises Σ_{(u,i) met} w_ui (1 - x_u·y_i)² + a
    Σ_{u,i} w_u (x_u·y_i)² + λ Σ_u w_u (n_u + a items)^ν |x_u|² + λ Σ_i (n_i + a users)^ν |y_i|²,
    with a = unobserved_weight, ν = frequency_exponent, w_u the mean of the user's weights, n_u =
    Σ_i w_ui / w_u, n_i = Σ_u w_ui, users = Σ_u w_u: a user of weight 2 counts as two users. A
    user's vector comes from the history alone, in training as for a user never seen; entries that
    are targets only enter the items' step, not the users'.

    Training improves all vectors by a few conjugate gradient steps a sweep from where they were
    (Takács, Pilászy, Tikk 2011), in time linear in interactions × factors. To recommend, users'
    vectors are solved for exactly, in batches padded to their longest row. Only the items' vectors
    are kept.
    """

    Config = IalsConfig
    cost = "solving"
    rules: ClassVar = {"regularisation": penalty}
    search_space: ClassVar = {
        "factors": [16, 32, 64, 128],
        "unobserved_weight": {"low": 0.01, "high": 3.0, "log": True},
        "regularisation": {"low": 0.0001, "high": 0.3, "log": True},
    }
    regularisation: ClassVar = {"regularisation": ["x0.4", "x2.5"]}

    @property
    def _device(self) -> torch.device:
        return choose_device(self.config.device, self.section())

    def check_fits(self, shape: DataShape) -> None:
        """Refuse users and items whose vectors take more than the memory there is."""
        vectors = (shape.n_users + shape.n_items) * self.config.factors
        refuse_beyond(
            _VECTOR_BYTES * vectors + _ENTRY_BYTES * shape.n_interactions,
            f"iALS with {shape.n_users:,} users and {shape.n_items:,} items",
            f"params.yaml, {self.section()}.factors",
            "lower factors, shorten data.window, or take item_knn",
        )

    def _fit(self, data: TrainingData) -> None:
        histories = data.histories
        wanted = histories.matrix()
        user_weight = np.asarray(wanted.sum(1)).ravel() / np.maximum(wanted.getnnz(1), 1)
        seen = sp.csr_matrix(sp.diags_array(1 / user_weight) @ histories.matrix(observed_only=True))
        users_of = sp.csr_matrix(wanted.T)
        with reproducible(derive(self.seed, self.name()), self.config.threads), torch.no_grad():
            scale, where = self.config.factors**-0.5, self._device
            self._items = (
                torch.randn(histories.n_items, self.config.factors).mul_(0.1 * scale).to(where)
            )
            self._items[torch.from_numpy(users_of.getnnz(1) == 0).to(where)] = 0
            limit = _MOST * self._vanishing(seen, users_of, float(user_weight.sum()))
            self._penalty = min(self.config.regularisation, limit or math.inf)
            users = torch.zeros(len(histories), self.config.factors, device=where)
            weight = torch.from_numpy(user_weight).float().to(where)[:, None]
            user_blocks = self._blocks(seen, histories.n_items, where)
            item_blocks = self._blocks(users_of, float(user_weight.sum()), where)
            for epoch in range(1, self.config.epochs + 1):
                users = self._sweep(user_blocks, users, self._items, self._items.T @ self._items)
                before = self._items
                self._items = self._sweep(item_blocks, before, users, users.T @ (weight * users))
                change = (self._items - before).norm() / self._items.norm().clamp(min=1e-12)
                data.log({"step": epoch, "change": change.item()})
            self._keep(self._items)

    def _vanishing(self, seen: sp.csr_matrix, users_of: sp.csr_matrix, n_users: float) -> float:
        """The λ from which on all vectors shrink to nothing; 0 where nothing is met.

        Near zero a sweep multiplies the items' vectors by M / λ², M = E_i⁻¹ Wᵀ E_u⁻¹ S with the
        evidence E of both sides, what users met S and what items are wanted by Wᵀ: nothing is left
        if λ² is above M's largest eigenvalue.

        Args:
            seen: S, (n_users, n_items).
            users_of: Wᵀ, (n_items, n_users).
            n_users: the users' weight.
        """
        users, items = self._evidence(seen, seen.shape[1]), self._evidence(users_of, n_users)
        vector, grown = np.ones(len(items)), 0.0
        for _ in range(_POWER_STEPS):
            vector = users_of @ (seen @ vector / users) / items
            grown = float(np.linalg.norm(vector))
            vector /= grown or 1.0
        return math.sqrt(grown)

    def _keep(self, items: torch.Tensor) -> None:
        """The items' vectors and Σ vector × its transpose, (factors, factors), with which every
        user's problem begins."""
        self._items, self._gram = items, items.T @ items

    def _blocks(self, entries: sp.csr_matrix, n_others: float, where: torch.device) -> list[_Block]:
        penalties = self._penalties(entries, n_others)
        return [
            _Block.of(entries[start : start + _ROWS], penalties[start : start + _ROWS], where)
            for start in range(0, entries.shape[0], _ROWS)
        ]

    def _sweep(
        self, blocks: list[_Block], vectors: torch.Tensor, others: torch.Tensor, gram: torch.Tensor
    ) -> torch.Tensor:
        """Better vectors (n, factors), the other side's being `others`, (m, factors); `gram` as for
        `_solve`."""
        gram, steps = self.config.unobserved_weight * gram, self.config.solver_steps
        parts = vectors.split(_ROWS)
        return torch.cat(
            [
                block.improve(part, others, gram, steps)
                for block, part in zip(blocks, parts, strict=True)
            ]
        )

    def _penalties(self, entries: sp.csr_matrix, n_others: float) -> torch.Tensor:
        """λ times the evidence on each row, float32 (n,)."""
        return torch.from_numpy(self._penalty * self._evidence(entries, n_others)).float()

    def _evidence(self, entries: sp.csr_matrix, n_others: float) -> np.ndarray:
        """The power ν of the evidence on each row, float64 (n,)."""
        met = np.asarray(entries.sum(1), dtype=np.float64).ravel()
        return (met + self.config.unobserved_weight * n_others) ** self.config.frequency_exponent

    def _solve(
        self, entries: sp.csr_matrix, others: torch.Tensor, gram: torch.Tensor, n_others: float
    ) -> torch.Tensor:
        """The best vector of each row of `entries`, (n, factors), the other side's being `others`,
        (m, factors).

        Args:
            entries: float (n, m), what the row met and with what weight.
            others: the other side's vectors.
            gram: Σ_m weight of m × its vector × its vector transposed, (factors, factors).
            n_others: Σ_m weight of m.
        """
        solved = torch.zeros(entries.shape[0], others.shape[1], device=others.device)
        for rows, right, factor in self._problems(entries, others, gram, n_others):
            solved[rows] = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
        return solved

    def _problems(
        self, entries: sp.csr_matrix, others: torch.Tensor, gram: torch.Tensor, n_others: float
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Batches of rows: their places (B,), the right sides of their normal equations (B,
        factors), and the Cholesky factors of the left sides (B, factors, factors). Rows without
        entries are left out."""
        config, where = self.config, others.device
        penalties = self._penalties(entries, n_others).to(where)
        for rows, columns, weights in _padded(entries, others.shape[1], where):
            met = others[columns]  # (B, L, factors)
            weighted = met * weights[:, :, None]
            left = weighted.transpose(1, 2) @ met + config.unobserved_weight * gram
            left.diagonal(dim1=1, dim2=2).add_(penalties[rows, None])
            factor, failed = torch.linalg.cholesky_ex(left)
            if failed.any():
                raise ConfigError(
                    "a least-squares problem of iALS cannot be solved at this precision",
                    where="params.yaml, recommenders.ials",
                    fix="raise regularisation",
                )
            yield rows, weighted.sum(1), factor

    @property
    def item_vectors(self) -> torch.Tensor:
        """The items' vectors, float32 (n_items, factors)."""
        return self._items

    def user_vectors(self, histories: Histories) -> torch.Tensor:
        """The vectors of users, solved for from their histories: float32 (n, factors); zeros for an
        empty history."""
        with torch.inference_mode():
            return self._solve(histories.matrix(), self._items, self._gram, histories.n_items)

    def item_factors(self) -> np.ndarray:
        """The items' vectors, and their popularity."""
        popularity = torch.from_numpy(self.popularity / self.popularity.max())
        return with_column(self._items, popularity.to(self._items.device))

    def user_factors(self, histories: Histories) -> np.ndarray:
        """The users' vectors, and what popularity counts for each."""
        vectors = self.user_vectors(histories)
        weights = self._weigh_popularity(histories, vectors)
        return with_column(vectors, torch.from_numpy(weights).to(vectors))

    def _scores(self, histories: Histories) -> np.ndarray:
        vectors = self.user_vectors(histories)
        with torch.inference_mode():
            scores = (vectors @ self._items.T).cpu().numpy()
        add_popularity(scores, self.popularity, self._weigh_popularity(histories, vectors))
        return scores

    def _weigh_popularity(self, histories: Histories, vectors: torch.Tensor) -> np.ndarray:
        """From the users' vectors alone: the sum of a user's squared scores is xᵀ YᵀY x."""
        with torch.inference_mode():
            squares = (vectors @ self._gram * vectors).sum(1).clamp(min=0) / len(self.items)
        lengths, blend = histories.matrix().getnnz(1), self.config.popularity_blend
        sizes = squares.sqrt().cpu().numpy()
        return relative_weight(sizes, self.popularity, lengths, blend)

    def popularity_weights(self, histories: Histories) -> np.ndarray:
        """In proportion to the personal scores."""
        return self._weigh_popularity(histories, self.user_vectors(histories))

    def contributions(self, histories: Histories, targets: np.ndarray) -> np.ndarray:
        """Exactly, by Hu et al. 2008, section 5: a score is y_jᵀ W Σ_i w_i y_i with W the inverse
        of the user's normal equations; item i's part is y_jᵀ W w_i y_i. Popularity's part belongs
        to no item."""
        seen, vectors = histories.matrix(), self._items
        wanted = vectors[
            torch.from_numpy(np.maximum(targets, 0)).long().to(vectors.device)
        ]  # (n, m, factors)
        asked = torch.zeros_like(wanted)  # W y_j for each target
        with torch.inference_mode():
            for rows, _, factor in self._problems(seen, vectors, self._gram, histories.n_items):
                asked[rows] = torch.cholesky_solve(wanted[rows].transpose(1, 2), factor).transpose(
                    1, 2
                )
            user = torch.from_numpy(np.repeat(np.arange(len(histories)), histories.lengths)).to(
                vectors.device
            )
            given = vectors[torch.from_numpy(histories.items).long().to(vectors.device)]
            shares = torch.einsum("emf,ef->em", asked[user], given).cpu().numpy()
        return shares * histories.weights[:, None]

    def choices(self) -> dict[str, float]:
        """The penalty it was trained with."""
        return {"regularisation": self._penalty}

    def _model_state(self) -> dict[str, np.ndarray]:
        return {"vectors": self._items.cpu().numpy(), "penalty": np.array([self._penalty])}

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._penalty = float(state["penalty"][0])
        self._keep(torch.from_numpy(state["vectors"]).to(self._device))


@dataclass(frozen=True)
class _Block:
    """Some rows of one side's least-squares problems (W_r-weighted YᵀY + a YᵀY + penalty I) x =
    Yᵀw, all at once.

    Attributes:
        entries: sparse float32 (n, m), what each row met and with what weight.
        penalties: float32 (n, 1).
    """

    entries: torch.Tensor
    penalties: torch.Tensor

    @classmethod
    def of(cls, entries: sp.csr_matrix, penalties: torch.Tensor, where: torch.device) -> _Block:
        return cls(torch_sparse(entries.astype(np.float32)).to(where), penalties[:, None].to(where))

    def improve(
        self, vectors: torch.Tensor, others: torch.Tensor, gram: torch.Tensor, steps: int
    ) -> torch.Tensor:
        """Conjugate gradient steps from `vectors`, (n, factors), each row by itself."""
        residual = self._gather(self.entries.values(), others) - self._left(vectors, others, gram)
        direction, left_over = residual, _squares(residual)
        for step in range(steps):
            image = self._left(direction, others, gram)
            length = left_over / (direction * image).sum(1, keepdim=True).clamp(min=1e-30)
            vectors = torch.addcmul(vectors, length, direction)
            if step < steps - 1:
                residual = torch.addcmul(residual, length, image, value=-1)
                before, left_over = left_over, _squares(residual)
                direction = torch.addcmul(residual, left_over / before.clamp(min=1e-30), direction)
        return vectors

    def _left(
        self, vectors: torch.Tensor, others: torch.Tensor, gram: torch.Tensor
    ) -> torch.Tensor:
        """The left sides times `vectors`, (n, factors)."""
        met = torch.sparse.sampled_addmm(
            self.entries, vectors, others.T, beta=0.0
        ).values()  # (nnz,)
        dense = torch.addcmul(vectors @ gram, self.penalties, vectors)
        return dense + self._gather(met * self.entries.values(), others)

    def _gather(self, values: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """For each row the sum of the others it met, times `values`, float32 (nnz,): (n,
        factors)."""
        starts, columns = self.entries.crow_indices(), self.entries.col_indices()
        return F.embedding_bag(
            columns, others, starts, mode="sum", per_sample_weights=values, include_last_offset=True
        )


def _squares(vectors: torch.Tensor) -> torch.Tensor:
    return (vectors * vectors).sum(1, keepdim=True)


def _padded(
    entries: sp.csr_matrix, width: int, where: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of rows, shortest first: rows int64 (B,), columns int64 (B, L), values float32 (B,
    L), 0 where padded.

    For vectors of length `width` a batch takes at most about `_CELLS` floats, but for single longer
    rows, and so do the matrices of its least-squares problems. Empty rows are left out.
    """
    lengths = np.diff(entries.indptr)
    order = np.argsort(lengths, kind="stable")[(lengths == 0).sum() :]
    while len(order):
        room = np.arange(1, len(order) + 1) * np.maximum(lengths[order], width)
        rows, order = np.split(
            order, [max(1, int(np.searchsorted(room, _CELLS // width, side="right")))]
        )
        place = np.arange(lengths[rows[-1]])
        real = place < lengths[rows][:, None]  # (B, L)
        entry = np.where(real, entries.indptr[rows][:, None] + place, 0)
        columns, values = (
            entries.indices[entry].astype(np.int64),
            np.where(real, entries.data[entry], 0),
        )
        yield (
            torch.from_numpy(rows).to(where),
            torch.from_numpy(columns).to(where),
            torch.from_numpy(values.astype(np.float32)).to(where),
        )
