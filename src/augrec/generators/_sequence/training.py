"""How the networks of the sequence generator train: the generator by likelihood, then the critic
against its samples."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from augrec.core.seeds import rng
from augrec.generators._sequence.networks import SequenceCritic, SequenceGenerator
from augrec.generators._sequence.tokens import SequenceRows, Tokenizer
from augrec.generators._sequence.windows import (
    Chunks,
    TokenTensors,
    critic_loss,
    generator_losses,
)
from augrec.generators._training.monitor import CRITIC_AUC
from augrec.generators._training.train_state import TrainState
from augrec.nn.averages import average_share, move_average
from augrec.nn.negatives import Negatives

_NEGATIVE_EXPONENT = 0.75
"""Items are drawn for the sampled loss by this power of popularity."""
_MAX_GRADIENT_NORM = 5.0
_HELD_OUT = 0.2
"""Share of the users that the critic is evaluated on and does not learn from …"""
_MIN_HELD_OUT = 10
"""… if there are at least this many."""


def generator_train_state(
    config: Any,
    generator: SequenceGenerator,
    rows: SequenceRows,
    tokenizer: Tokenizer,
    conditions: np.ndarray,
    popularity: np.ndarray,
    *,
    lr_factor: float,
    seed: int,
    statistics: Callable[[], dict[str, float]],
) -> TrainState:
    """A fresh training of the generator network by likelihood.

    Args:
        config: of the generator.
        generator: keeps the average of the weights in training.
        rows: of n users.
        tokenizer: gives their tokens.
        conditions: float32 (n, width), the last column 0; it becomes 1 where a history is read
            backwards.
        popularity: float (n_items,).
        lr_factor: the learning rate is multiplied by it.
        seed: of the run.
        statistics: measures a sample of the average.
    """
    n, device, random = len(rows.lengths), generator.bias.device, rng(seed, "windows")
    both = rows.followed_by(rows.backwards()) if config.backward else rows
    tensors = TokenTensors(both, tokenizer, device)
    windows = tensors.windows(config.length)
    of_users = torch.from_numpy(conditions).to(device)
    allowed = torch.from_numpy(tokenizer.allowed).to(device)
    full = config.loss == "full" or (
        config.loss == "auto" and len(popularity) <= config.max_full_items
    )
    draws = None if full else Negatives(popularity**_NEGATIVE_EXPONENT, device)
    network = copy.deepcopy(generator)
    rate = config.learning_rate * lr_factor
    optimizer = torch.optim.Adam(network.parameters(), rate, fused=True)

    def condition(users: Tensor) -> Tensor:
        """Float32 (B, width): some attributes hidden, the direction in the last column."""
        given = of_users[users % n]
        given[:, 1:-1] *= torch.rand(len(users), 1, device=device) >= config.unknown
        given[:, -1] = (users >= n).float()
        return given

    def step() -> dict[str, Tensor]:
        drawn = random.integers(0, len(windows), config.batch_size)
        chosen = torch.from_numpy(drawn).to(device)
        given = condition(windows.users[chosen])
        batch = windows.cut(chosen)
        losses = generator_losses(
            network.train(), batch, tensors, given, allowed, draws, config.negatives
        )
        _descend(network, optimizer, torch.stack(list(losses.values())).sum())
        _follow(generator, network, optimizer, config.average)
        return {name: loss.detach() for name, loss in losses.items()}

    modules: dict[str, nn.Module] = {"writer": generator, "network": network}
    return TrainState(modules, {"network": optimizer}, step, statistics, seed, {"windows": random})


def critic_train_state(
    config: Any,
    critic: SequenceCritic,
    real: Chunks,
    fake: Chunks,
    *,
    lr_factor: float,
    seed: int,
    random: np.random.Generator,
) -> TrainState:
    """A fresh training of the critic; some users are held out to measure it on.

    Args:
        config: of the generator.
        critic: keeps the average of the weights in training.
        real, fake: the same number of histories each.
        lr_factor: the learning rate is multiplied by it.
        seed: of the run.
        random: draws chunks.
    """
    held_out = int(_HELD_OUT * len(real.tensors.rows.lengths))
    learnt_from = [(part.owners >= held_out).nonzero().squeeze(1) for part in (real, fake)]
    network = copy.deepcopy(critic)
    rate = config.learning_rate * lr_factor
    optimizer = torch.optim.Adam(network.parameters(), rate, fused=True)

    def step() -> dict[str, Tensor]:
        drawn = [random.integers(0, len(part), config.batch_size) for part in learnt_from]
        some_real, some_fake = (
            part[torch.from_numpy(at).to(part.device)]
            for part, at in zip(learnt_from, drawn, strict=True)
        )
        loss = critic_loss(network.train(), real, fake, (some_real, some_fake))
        _descend(network, optimizer, loss)
        _follow(critic, network, optimizer, config.average)
        return {"critic": loss.detach()}

    def statistics() -> dict[str, float]:
        scores = [part.realness(critic.eval())[:held_out] for part in (real, fake)]
        return {CRITIC_AUC: _auc(*scores)}

    modules: dict[str, nn.Module] = {"critic": critic, "network": network}
    return TrainState(modules, {"network": optimizer}, step, statistics, seed, {"pieces": random})


def _descend(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM)
    optimizer.step()


def _follow(
    average: nn.Module, network: nn.Module, optimizer: torch.optim.Optimizer, decay: float
) -> None:
    step = int(next(iter(optimizer.state.values()))["step"])
    move_average(average, network, average_share(decay, step))


def _auc(real: np.ndarray, fake: np.ndarray) -> float:
    """How often a real history scores above a fake one: the area under the ROC curve; 0.5 where
    they are too few."""
    if len(real) < _MIN_HELD_OUT:
        return 0.5
    return float((real[:, None] > fake).mean() + (real[:, None] == fake).mean() / 2)
