"""From logits to profiles: distinct items, as many as asked for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def gumbel_top_k(logits: Tensor, lengths: np.ndarray, random: torch.Generator) -> np.ndarray:
    """Draw distinct items for each row, in proportion to exp(logit) without replacement (arXiv
    1903.06059).

    Args:
        logits: float (B, n_items).
        lengths: int (B,), items of each row; at most n_items.
        random: on the same device as the logits.

    Returns:
        Item positions int64 (sum of lengths,), row after row, in the order they were drawn.
    """
    if not len(lengths):
        return np.empty(0, np.int64)
    noisy = with_gumbel(logits, random)
    best = torch.topk(noisy, int(lengths.max()), dim=1).indices  # (B, longest)
    wanted = (
        torch.arange(best.shape[1], device=best.device)
        < torch.as_tensor(lengths, device=best.device)[:, None]
    )
    return best[wanted].cpu().numpy()


def with_gumbel(logits: Tensor, random: torch.Generator) -> Tensor:
    """The logits with standard Gumbel noise, a fresh tensor of their shape; its largest are a draw
    without replacement."""
    return torch.empty_like(logits).exponential_(generator=random).log_().neg_().add_(logits)
