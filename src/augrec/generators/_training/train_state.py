"""A training that is ready to begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn


@dataclass
class Course:
    """A training that is ready to begin. All that changes while it goes on is here.

    Attributes:
        modules: every network, averages too.
        optimizers: every optimizer.
        step: takes one update; gives its losses (and how sure its critic is, see `_watch`),
            0-dimensional tensors that are left on the device.
        look: measures a small sample of what would be published: `_watch.look` and whatever else
            the curve shall show.
        seed: of the run: processes that train together derive their own from it.
        randoms: every source of randomness the steps draw from, besides torch's global one.
        capturable: a step runs on the device alone (no NumPy, no shape that depends on the data, no
            look at a value), so that it can be replayed as one CUDA graph.
    """

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    step: Callable[[], dict[str, Tensor]]
    look: Callable[[], dict[str, float]]
    seed: int
    randoms: Mapping[str, np.random.Generator | torch.Generator] = field(default_factory=dict)
    capturable: bool = False
