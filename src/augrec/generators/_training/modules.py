"""What every neural generator does with its networks: where they run, how they learn a step, how
they are kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


def perceptron(width: int, hidden: int, out: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, out),
    )


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, module: nn.Module) -> None:
    """One step of a module's weights; an adversary that the loss goes through keeps its own
    untouched."""
    loss.backward(
        inputs=list(module.parameters())
    )  # the other network's gradients would be thrown away
    optimizer.step()
    optimizer.zero_grad(
        set_to_none=True
    )  # at once: gradients of a large catalogue take as much memory as its weights


def to_arrays(modules: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """All weights, as "module.weight"."""
    return {
        f"{part}.{name}": value.cpu().numpy()
        for part, module in modules.items()
        for name, value in module.state_dict().items()
    }


def from_arrays(state: Mapping[str, np.ndarray], modules: Mapping[str, nn.Module]) -> None:
    """Put the weights that `to_arrays` gave into modules of the same shapes."""
    for part, module in modules.items():
        prefix = f"{part}."
        module.load_state_dict(
            {
                name.removeprefix(prefix): torch.as_tensor(array)
                for name, array in state.items()
                if name.startswith(prefix)
            }
        )
