"""Small tools around the networks of generators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from augrec.core.seeds import derive


def perceptron(width: int, hidden: int, out: int) -> nn.Sequential:
    """A multilayer perceptron with two hidden layers."""
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, out),
    )


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Networks built inside the block get their first weights from `seed`; torch's global random
    state is the same after it."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "weights"))
        yield


def to_arrays(modules: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """All weights, named "module.weight"."""
    return {
        f"{part}.{name}": value.cpu().numpy()
        for part, module in modules.items()
        for name, value in module.state_dict().items()
    }


def from_arrays(state: Mapping[str, np.ndarray], modules: Mapping[str, nn.Module]) -> None:
    """Load the weights that `to_arrays` gave into modules of the same shapes."""
    for part, module in modules.items():
        prefix = f"{part}."
        module.load_state_dict(
            {
                name.removeprefix(prefix): torch.as_tensor(array)
                for name, array in state.items()
                if name.startswith(prefix)
            }
        )
