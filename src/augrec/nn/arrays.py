"""Tensors of a network as NumPy arrays."""

from __future__ import annotations

import numpy as np
import torch


@torch.inference_mode()
def with_column(table: torch.Tensor, column: torch.Tensor) -> np.ndarray:
    """The table (n, d) with the column (n,) appended, float32 (n, d + 1)."""
    return torch.cat([table, column[:, None]], 1).float().cpu().numpy()
