"""The update of a conditional GAN: losses of critic and generator, and one step of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from augrec.generators._training.monitor import CRITIC_LEADS, CRITIC_WINS
from augrec.generators._training.train_state import TrainState
from augrec.generators.neural import NeuralGeneratorConfig
from augrec.nn.averages import MovingAverage

Loss = Literal["relativistic", "wasserstein"]
Critic = Callable[[Tensor, Tensor], Tensor]
"""Scores of rows (B, width) under their conditions (B, c); larger is more real."""
Batch = tuple[Tensor, Tensor, Tensor]
"""Real and fake rows (B, width), row by row under the same conditions (B, c)."""


class GanConfig(NeuralGeneratorConfig):
    """Losses and steps of a conditional GAN."""

    critic_steps: int = Field(1, ge=1)
    """Critic updates for each generator update."""
    loss: Loss = "relativistic"
    """Relativistic pairing loss with R1 and R2, or Wasserstein loss with a gradient penalty
    (WGAN-GP)."""
    penalty: float = Field(1.0, ge=0.0)
    """Weight of the gradient penalty; with the Wasserstein loss 10 is usual, with 3 critic
    steps."""
    learning_rate: float = Field(1e-3, gt=0.0)
    """Adam's step size for both networks."""
    average: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the moving average of the generator's weights; samples come from the average."""


def gan_train_state(
    config: GanConfig,
    generator: nn.Module,
    critic: nn.Module,
    batch: Callable[[], Batch],
    *,
    random: torch.Generator,
    seed: int,
    lr_factor: float,
    statistics: Callable[[nn.Module], dict[str, float]],
    more_loss: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> TrainState:
    """A fresh training of a conditional GAN; its modules are "generator", "critic" and "average".

    Args:
        config: losses, rates and the number of critic updates in a step.
        generator: what `batch` draws fake rows from.
        critic: see `Critic`.
        batch: draws rows; fake ones carry the generator's gradient.
        random: on the device; where `batch` and the losses draw from.
        seed: of the run.
        lr_factor: the learning rates are multiplied by it.
        statistics: measures a sample of the averaged generator.
        more_loss: what is added to the generator's loss, from a batch; None: nothing.
    """
    average = MovingAverage(generator, config.average)
    optimizers = {
        name: torch.optim.Adam(
            module.parameters(), config.learning_rate * lr_factor, betas=(0.0, 0.9), fused=True
        )
        for name, module in (("generator", generator), ("critic", critic))
    }

    def step() -> dict[str, Tensor]:
        for _ in range(config.critic_steps):
            with torch.no_grad():
                real, fake, condition = batch()
            lost, confidence = critic_loss(
                config.loss, critic, real, fake, condition, config.penalty, random
            )
            _descend(optimizers["critic"], lost, critic)
        real, fake, condition = batch()
        loss = generator_loss(config.loss, critic, real, fake, condition)
        if more_loss is not None:
            loss = loss + more_loss(real, fake, condition)
        _descend(optimizers["generator"], loss, generator)
        average.follow(generator)
        return {"critic": lost, "generator": loss, **confidence}

    return TrainState(
        modules={"generator": generator, "critic": critic, "average": average},
        optimizers=optimizers,
        step=step,
        statistics=lambda: statistics(average.module),
        seed=seed,
        randoms={"training": random},
        capturable=True,
    )


def critic_loss(
    loss: Loss,
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    condition: Tensor,
    penalty: float,
    random: torch.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the critic minimises, and its confidence.

    "relativistic": pairing loss with zero-centred gradient penalties on real (R1) and fake (R2),
    arXiv 2501.05441. "wasserstein": Wasserstein loss with a gradient penalty between real and fake
    (WGAN-GP), arXiv 1704.00028.

    Args:
        loss: which of the two.
        critic: gives (B,) scores, or fewer where it scores several rows at once.
        real, fake: float32 (B, width), row by row under the same condition; fake ones need no
            gradient.
        condition: float32 (B, c).
        penalty: weight of the gradient penalties.
        random: on the device; places the points at which WGAN-GP measures the gradient.

    Returns:
        The loss, 0-dimensional, differentiable by the critic's weights; and by its name for the
        curve, `CRITIC_WINS` or `CRITIC_LEADS` of `monitor`, the mean of sigmoid(score of the real
        one - score of the fake one) over the pairs, 0-dimensional, without gradient.
    """
    if loss == "relativistic":
        both = torch.cat([real, fake])
        scores, slopes = _slope(critic, both, torch.cat([condition, condition]))
        real_scores, fake_scores = scores.chunk(2)
        flatness = 2 * slopes.square().mean()  # R1 + R2
        lost = functional.softplus(fake_scores - real_scores).mean() + penalty / 2 * flatness
        return lost, {CRITIC_WINS: _confidence(real_scores, fake_scores)}
    share = torch.rand(len(real), 1, generator=random, device=real.device)
    _, slope = _slope(critic, share * real + (1 - share) * fake, condition)
    real_scores, fake_scores = critic(real, condition), critic(fake, condition)
    distance = fake_scores.mean() - real_scores.mean()
    lost = distance + penalty * (slope - 1).square().mean()
    return lost, {CRITIC_LEADS: _confidence(real_scores, fake_scores)}


def generator_loss(
    loss: Loss, critic: Critic, real: Tensor, fake: Tensor, condition: Tensor
) -> Tensor:
    """What the generator minimises: 0-dimensional, differentiable by `fake`.

    Args:
        loss, critic, condition: see `critic_loss`.
        real, fake: float32 (B, width); the Wasserstein loss ignores the real ones.
    """
    scores = critic(fake, condition)
    if loss == "relativistic":
        return functional.softplus(critic(real, condition) - scores).mean()
    return -scores.mean()


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, module: nn.Module) -> None:
    """One update of a module; an adversary that the loss goes through is left untouched."""
    # the other network's gradients would be thrown away
    loss.backward(inputs=list(module.parameters()))
    optimizer.step()
    # at once: gradients of a large catalogue take as much memory as its weights
    optimizer.zero_grad(set_to_none=True)


def _confidence(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    return torch.sigmoid(real_scores - fake_scores).mean().detach()


def _slope(critic: Critic, rows: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B,) and the norms (B,) of their gradients by the rows."""
    rows = rows.detach().requires_grad_(True)
    scores = critic(rows, condition)
    (gradient,) = torch.autograd.grad(scores.sum(), rows, create_graph=True)  # (B, width)
    # the tiny constant keeps the square root differentiable where a gradient vanishes
    return scores, (gradient.square().sum(dim=1) + 1e-12).sqrt()
