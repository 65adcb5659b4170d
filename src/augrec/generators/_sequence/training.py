"""How the networks of the sequence generator train: the writer by likelihood, then the critic
against what it writes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from augrec.core.seeds import rng
from augrec.generators._sequence.networks import Critic, Writer
from augrec.generators._sequence.tokens import Rows, Tokens
from augrec.generators._sequence.windows import Pieces, Readings, critic_loss, writer_losses
from augrec.generators._training.monitor import CRITIC_AUC
from augrec.generators._training.train_state import Course
from augrec.nn.averages import average_share, move_average
from augrec.nn.negatives import Negatives

_NEGATIVE_EXPONENT = 0.75
"""Items are drawn for the sampled loss by this power of popularity."""
_LONGEST_GRADIENT = 5.0
_HELD_BACK = 0.2
"""Share of the people that the critic is judged by and does not learn from …"""
_ENOUGH = 10
"""… if there are so many."""


def writing(
    config: Any,
    writer: Writer,
    rows: Rows,
    tokens: Tokens,
    conditions: np.ndarray,
    popularity: np.ndarray,
    factor: float,
    seed: int,
    look: Callable[[], dict[str, float]],
) -> Course:
    """Learn to write.

    Args:
        config: of the generator.
        writer: keeps the average of the weights in training.
        rows: of n people.
        tokens: what rows are made of.
        conditions: float32 (n, width), the last column 0; it becomes 1 where a history is read
            backwards.
        popularity: float (n_items,).
        factor: of the learning rate.
        seed: of the run.
        look: measures a sample of the average.
    """
    n, where, random = len(rows.lengths), writer.bias.device, rng(seed, "windows")
    readings = Readings(
        rows.followed_by(rows.backwards()) if config.backward else rows, tokens, where
    )
    windows = readings.windows(config.length)
    of_users = torch.from_numpy(conditions).to(where)
    allowed = torch.from_numpy(tokens.allowed).to(where)
    full = config.loss == "full" or (
        config.loss == "auto" and len(popularity) <= config.max_full_items
    )
    draws = None if full else Negatives(popularity**_NEGATIVE_EXPONENT, where)
    network = copy.deepcopy(writer)
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate * factor, fused=True)

    def condition(users: Tensor) -> Tensor:
        """Float32 (B, width): attributes hidden here and there, the direction told."""
        given = of_users[users % n]
        given[:, 1:-1] *= torch.rand(len(users), 1, device=where) >= config.unknown
        given[:, -1] = (users >= n).float()
        return given

    def step() -> dict[str, Tensor]:
        chosen = torch.from_numpy(random.integers(0, len(windows), config.batch_size)).to(where)
        given = condition(windows.users[chosen])
        losses = writer_losses(
            network.train(), windows.cut(chosen), readings, given, allowed, draws, config.negatives
        )
        _descend(network, optimizer, torch.stack(list(losses.values())).sum())
        _follow(writer, network, optimizer, config.average)
        return {name: loss.detach() for name, loss in losses.items()}

    modules: dict[str, nn.Module] = {"writer": writer, "network": network}
    return Course(modules, {"network": optimizer}, step, look, seed, {"windows": random})


def judging(
    config: Any,
    critic: Critic,
    real: Pieces,
    made: Pieces,
    factor: float,
    seed: int,
    random: np.random.Generator,
) -> Course:
    """Learn to tell real histories from made ones; some people are held back to see how well it
    does.

    Args:
        config: of the generator.
        critic: keeps the average of the weights in training.
        real, made: as many histories each.
        factor: of the learning rate.
        seed: of the run.
        random: draws pieces.
    """
    held_back = int(_HELD_BACK * len(real.readings.rows.lengths))
    learnt_from = [(part.owners >= held_back).nonzero().squeeze(1) for part in (real, made)]
    network = copy.deepcopy(critic)
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate * factor, fused=True)

    def step() -> dict[str, Tensor]:
        drawn = [random.integers(0, len(part), config.batch_size) for part in learnt_from]
        some, others = (
            part[torch.from_numpy(at).to(part.device)]
            for part, at in zip(learnt_from, drawn, strict=True)
        )
        loss = critic_loss(network.train(), real, made, (some, others))
        _descend(network, optimizer, loss)
        _follow(critic, network, optimizer, config.average)
        return {"critic": loss.detach()}

    def look() -> dict[str, float]:
        scores = [part.realness(critic.eval())[:held_back] for part in (real, made)]
        return {CRITIC_AUC: _told_apart(*scores)}

    modules: dict[str, nn.Module] = {"critic": critic, "network": network}
    return Course(modules, {"network": optimizer}, step, look, seed, {"pieces": random})


def _descend(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), _LONGEST_GRADIENT)
    optimizer.step()


def _follow(
    average: nn.Module, network: nn.Module, optimizer: torch.optim.Optimizer, decay: float
) -> None:
    """Move the average a little; a young one must not remember the first weights for long."""
    step = int(next(iter(optimizer.state.values()))["step"])
    move_average(average, network, average_share(decay, step))


def _told_apart(real: np.ndarray, made: np.ndarray) -> float:
    """How often a real history scores above a made one: the area under the curve; 0.5 where they
    are too few."""
    if len(real) < _ENOUGH:
        return 0.5
    return float((real[:, None] > made).mean() + (real[:, None] == made).mean() / 2)
