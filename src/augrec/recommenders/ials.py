"""iALS: matrix factorisation of implicit feedback by alternating least squares; users are solved for, never stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from pydantic import Field

from augrec.component import ComponentConfig
from augrec.data.histories import Histories
from augrec.errors import ConfigError
from augrec.recommenders._blend import popularity_share
from augrec.recommenders._torch import device, reproducible
from augrec.recommenders.base import Log, Recommender
from augrec.seeds import derive

_CELLS = 2**23
"""About so many floats are gathered at once."""


class IalsConfig(ComponentConfig):
    """Size and penalties of the factorisation."""

    factors: int = Field(64, ge=1)
    """Length of the vectors; time grows with its square, and with its cube for each user and item."""
    unobserved_weight: float = Field(1.0, gt=0)
    """How much an item the user did not meet counts as a zero; an item met counts 1."""
    regularisation: float = Field(0.01, gt=0)
    """Penalty on the vectors."""
    frequency_exponent: float = Field(1.0, ge=0)
    """The penalty grows with this power of the evidence on a user or item; 0: the same for all."""
    epochs: int = Field(10, ge=1)
    """Sweeps over users and items."""
    popularity_blend: float = Field(1.0, ge=0)
    """A history of n distinct items gets popularity_blend / (1 + n) × popularity (the most popular item is 1) added."""
    threads: int = Field(1, ge=1)
    """CPU threads of training; the same number gives the same bytes."""


class Ials(Recommender):
    """Implicit alternating least squares (Hu, Koren, Volinsky 2008), penalised as in Rendle et al. 2021, arXiv 2110.14037.

    With u's vector x_u and i's vector y_i it minimises Σ_{(u,i) met} w_ui (1 - x_u·y_i)² + a Σ_{u,i} w_u (x_u·y_i)²
    + λ Σ_u w_u (n_u + a items)^ν |x_u|² + λ Σ_i (n_i + a users)^ν |y_i|², with a = unobserved_weight, ν =
    frequency_exponent, w_u the mean of the user's weights, n_u = Σ_i w_ui / w_u, n_i = Σ_u w_ui, users = Σ_u w_u: a user
    of weight 2 counts as two users. A user's vector is always solved from the history alone, in training as for a user
    never seen; entries that are targets only enter the items' step, not the users'.

    Only the items' vectors are kept. Each batch is padded to its longest row, rows of like length together.
    """

    Config = IalsConfig

    def _fit(self, histories: Histories, cases: pl.DataFrame | None, log: Log) -> None:
        wanted = histories.matrix()
        user_weight = np.asarray(wanted.sum(1)).ravel() / np.maximum(wanted.getnnz(1), 1)
        seen = sp.csr_matrix(sp.diags_array(1 / user_weight) @ histories.matrix(observed_only=True))
        users_of = sp.csr_matrix(wanted.T)
        with reproducible(derive(self.seed, self.name()), self.config.threads):
            scale = self.config.factors**-0.5
            self._items = torch.randn(histories.n_items, self.config.factors).mul_(0.1 * scale).to(device())
            weight = torch.from_numpy(user_weight).float().to(device())[:, None]
            for epoch in range(1, self.config.epochs + 1):
                users = self._solve(seen, self._items, self._items.T @ self._items, histories.n_items)
                before, self._items = (
                    self._items,
                    self._solve(users_of, users, users.T @ (weight * users), float(user_weight.sum())),
                )
                change = (self._items - before).norm() / self._items.norm().clamp(min=1e-12)
                log({"step": epoch, "change": change.item()})

    def _solve(
        self, entries: sp.csr_matrix, others: torch.Tensor, gram: torch.Tensor, n_others: float
    ) -> torch.Tensor:
        """The best vector of each row of `entries`, (n, factors), the other side's being `others`, (m, factors).

        Args:
            entries: float (n, m), what the row met and with what weight.
            others: the other side's vectors.
            gram: Σ_m weight of m × its vector × its vector transposed, (factors, factors).
            n_others: Σ_m weight of m.
        """
        config, where = self.config, others.device
        evidence = np.asarray(entries.sum(1)).ravel() + config.unobserved_weight * n_others
        penalties = (
            torch.from_numpy(config.regularisation * evidence**config.frequency_exponent).float().to(where)
        )
        solved = torch.zeros(entries.shape[0], others.shape[1], device=where)
        for rows, columns, weights in _padded(entries, others.shape[1], where):
            met = others[columns]  # (B, L, factors)
            weighted = met * weights[:, :, None]
            left = weighted.transpose(1, 2) @ met + config.unobserved_weight * gram
            left.diagonal(dim1=1, dim2=2).add_(penalties[rows, None])
            factor, failed = torch.linalg.cholesky_ex(left)
            if failed.any():
                raise ConfigError("a least-squares problem of iALS cannot be solved at this precision",
                                  where="params.yaml, recommenders.ials", fix="raise regularisation")  # fmt: skip
            solved[rows] = torch.cholesky_solve(weighted.sum(1)[:, :, None], factor)[:, :, 0]
        return solved

    def _scores(self, histories: Histories) -> np.ndarray:
        seen = histories.matrix()
        scores = popularity_share(self.popularity, seen.getnnz(1), self.config.popularity_blend)
        with torch.inference_mode():
            users = self._solve(seen, self._items, self._items.T @ self._items, histories.n_items)
            scores += (users @ self._items.T).cpu().numpy()
        return scores

    def _model_state(self) -> dict[str, np.ndarray]:
        return {"vectors": self._items.cpu().numpy()}

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._items = torch.from_numpy(state["vectors"]).to(device())


def _padded(
    entries: sp.csr_matrix, width: int, where: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of rows, shortest first: rows int64 (B,), columns int64 (B, L), values float32 (B, L), 0 where padded.

    For vectors of length `width` a batch takes at most about `_CELLS` floats, but for single longer rows, and so do the
    matrices of its least-squares problems. Empty rows are left out.
    """
    lengths = np.diff(entries.indptr)
    order = np.argsort(lengths, kind="stable")[(lengths == 0).sum() :]
    while len(order):
        room = np.arange(1, len(order) + 1) * np.maximum(lengths[order], width)
        rows, order = np.split(order, [max(1, int(np.searchsorted(room, _CELLS // width, side="right")))])
        place = np.arange(lengths[rows[-1]])
        real = place < lengths[rows][:, None]  # (B, L)
        entry = np.where(real, entries.indptr[rows][:, None] + place, 0)
        columns, values = entries.indices[entry].astype(np.int64), np.where(real, entries.data[entry], 0)
        yield (
            torch.from_numpy(rows).to(where),
            torch.from_numpy(columns).to(where),
            torch.from_numpy(values.astype(np.float32)).to(where),
        )
