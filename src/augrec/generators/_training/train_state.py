"""A training that is ready to start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn


@dataclass
class TrainState:
    """All that changes in the course of a training, with what advances and what measures it.

    Attributes:
        modules: every network, averages included.
        optimizers: every optimizer.
        step: takes one update; returns its losses and its critic's confidence (see `monitor`),
            0-dimensional tensors that are left on the device.
        statistics: measures a small sample of what would be published: `sample_statistics`, and
            whatever else belongs into the training curve.
        seed: of the run; processes that train together derive their own from it.
        randoms: every source of randomness that `step` draws from, besides torch's global one.
        capturable: whether a step runs on the device alone (no NumPy, no shape that depends on the
            data, no value that is read back), so that it can be replayed as one CUDA graph.
    """

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    step: Callable[[], dict[str, Tensor]]
    statistics: Callable[[], dict[str, float]]
    seed: int
    randoms: Mapping[str, np.random.Generator | torch.Generator] = field(default_factory=dict)
    capturable: bool = False
