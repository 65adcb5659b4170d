"""Vectors made comparable in all directions, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_FLATTEST = 1e-3
"""Directions in which vectors vary less than this share of the widest are not blown up further."""


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
        return cls(
            mean, axes.contiguous(), back.contiguous()
        )  # laid out as they are read back: the same sums

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
