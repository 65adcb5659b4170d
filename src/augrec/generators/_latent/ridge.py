"""Linear regression of many targets, each as smooth as serves it best on rows it was not fitted
to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augrec.core.seeds import rng

_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 1e6)
_FOLDS = 5


@dataclass(frozen=True)
class Ridge:
    """y = weights · (x, 1).

    Attributes:
        weights: float32 (c + 1, t).
    """

    weights: Tensor

    @classmethod
    def fit(cls, given: Tensor, targets: Tensor, seed: int) -> tuple[Ridge, Tensor]:
        """The regression, and what it leaves open: residuals float32 (n, t), each of a fit without
        that row's fold.

        Args:
            given: float32 (n, c).
            targets: float32 (n, t); each column gets the penalty with the least squared residuals.
            seed: of the folds.
        """
        folds = torch.as_tensor(
            rng(seed, "folds").permutation(len(given)) % _FOLDS, device=given.device
        )
        left = torch.stack(
            [_left_open(given, targets, folds, penalty) for penalty in _PENALTIES]
        )  # (p, n, t)
        best = left.square().sum(dim=1).argmin(dim=0)  # (t,)
        whole = torch.stack(
            [_solve(given, targets, penalty) for penalty in _PENALTIES]
        )  # (p, c + 1, t)
        columns = torch.arange(targets.shape[1], device=given.device)
        return cls(whole[best, :, columns].T.contiguous()), left[best, :, columns].T.contiguous()

    def predict(self, given: Tensor) -> Tensor:
        """Float32 (n, t)."""
        return given @ self.weights[:-1] + self.weights[-1]


def _left_open(given: Tensor, targets: Tensor, folds: Tensor, penalty: float) -> Tensor:
    residuals = torch.empty_like(targets)
    for fold in range(_FOLDS):
        inside = folds == fold
        if inside.any():
            ridge = Ridge(_solve(given[~inside], targets[~inside], penalty))
            residuals[inside] = targets[inside] - ridge.predict(given[inside])
    return residuals


def _solve(given: Tensor, targets: Tensor, penalty: float) -> Tensor:
    if not len(given):
        return given.new_zeros(given.shape[1] + 1, targets.shape[1])
    middle, level = given.mean(dim=0), targets.mean(dim=0)
    centred = given - middle
    gram = centred.T @ centred + penalty * torch.eye(given.shape[1], device=given.device)
    weights = torch.linalg.solve(gram, centred.T @ (targets - level))
    return torch.cat([weights, (level - middle @ weights)[None]])
