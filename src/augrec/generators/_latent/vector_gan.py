"""A conditional GAN over vectors of a few dozen numbers: small networks, so that thousands of steps
take seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from augrec.core.config import BaseConfig
from augrec.core.seeds import derive
from augrec.generators._profile import networks
from augrec.generators._training.modules import descend, perceptron
from augrec.generators._training.train_state import Course
from augrec.nn.averages import MovingAverage


class VectorGanConfig(BaseConfig):
    """Knobs of the networks and their training."""

    steps: int = Field(1500, ge=1)
    """Generator updates."""
    batch_size: int = Field(256, ge=2)
    """Vectors in a batch."""
    critic_steps: int = Field(1, ge=1)
    """Critic updates for each generator update."""
    loss: networks.Loss = "relativistic"
    """Relativistic pairing loss with R1 and R2, or Wasserstein loss with a gradient penalty
    (WGAN-GP)."""
    penalty: float = Field(1.0, ge=0.0)
    """Weight of the gradient penalty; with the Wasserstein loss 10 is usual, with 3 critic
    steps."""
    learning_rate: float = Field(1e-3, gt=0.0)
    """Adam's step size for both networks."""
    noise: int = Field(32, ge=1)
    """Width of the generator's noise."""
    hidden: int = Field(128, ge=1)
    """Width of the hidden layers of both networks."""
    average: float = Field(0.995, ge=0.0, lt=1.0)
    """Decay of the moving average of the generator's weights; samples come from the average."""


class VectorGenerator(nn.Module):
    """Noise (B, noise) and condition (B, condition) to vectors (B, width)."""

    def __init__(self, noise: int, condition: int, hidden: int, width: int) -> None:
        super().__init__()
        self.noise = noise
        self.layers = perceptron(noise + condition, hidden, width)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        return self.layers(torch.cat([noise, condition], dim=1))


class VectorCritic(nn.Module):
    """How real vectors (B, width) look under their conditions, (B,); larger is more real."""

    def __init__(self, condition: int, hidden: int, width: int) -> None:
        super().__init__()
        self.layers = perceptron(width + condition, hidden, 1)

    def forward(self, vectors: Tensor, condition: Tensor) -> Tensor:
        return self.layers(torch.cat([vectors, condition], dim=1)).squeeze(1)


def new_networks(
    config: VectorGanConfig, width: int, condition: int, device: torch.device, seed: int
) -> tuple[VectorGenerator, VectorCritic]:
    """Generator and critic with fresh weights."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "weights"))
        generator = VectorGenerator(config.noise, condition, config.hidden, width)
        critic = VectorCritic(condition, config.hidden, width)
    return generator.to(device), critic.to(device)


def course(
    config: VectorGanConfig,
    vectors: Tensor,
    conditions: Tensor,
    *,
    seed: int,
    gentler: float,
    look: Callable[[VectorGenerator], dict[str, float]],
) -> Course:
    """A fresh training; its modules are "generator", "critic" and "average".

    Args:
        config: knobs.
        vectors: the real ones, float32 (n, width), on the device to train on.
        conditions: float32 (n, condition), there too.
        seed: of weights, batches and noise.
        gentler: factor on the learning rate.
        look: measures the average.
    """
    random = torch.Generator(vectors.device).manual_seed(derive(seed, "training"))
    generator, critic = new_networks(
        config, vectors.shape[1], conditions.shape[1], vectors.device, seed
    )
    average = MovingAverage(generator, config.average)
    optimizers = {
        name: torch.optim.Adam(
            module.parameters(), config.learning_rate * gentler, betas=(0.0, 0.9), fused=True
        )
        for name, module in (("generator", generator), ("critic", critic))
    }

    def batch() -> tuple[Tensor, Tensor, Tensor]:
        """Real and fake vectors (B, width) under the same conditions (B, condition)."""
        rows = torch.randint(
            len(vectors), (config.batch_size,), generator=random, device=vectors.device
        )
        condition = conditions[rows]
        return vectors[rows], draw(generator, condition, random), condition

    def step() -> dict[str, Tensor]:
        for _ in range(config.critic_steps):
            with torch.no_grad():
                real, fake, condition = batch()
            critic_loss, sure = networks.judge(
                config.loss, critic, real, fake, condition, config.penalty, random
            )
            descend(optimizers["critic"], critic_loss, critic)
        real, fake, condition = batch()
        loss = networks.generator_loss(config.loss, critic, real, fake, condition)
        descend(optimizers["generator"], loss, generator)
        average.follow(generator)
        return {"critic": critic_loss, "generator": loss, **sure}

    return Course(
        modules={"generator": generator, "critic": critic, "average": average},
        optimizers=optimizers,
        step=step,
        look=lambda: look(cast(VectorGenerator, average.module)),
        seed=seed,
        randoms={"training": random},
        capturable=True,
    )


def draw(generator: VectorGenerator, condition: Tensor, random: torch.Generator) -> Tensor:
    """One vector (B, width) under each condition (B, condition)."""
    noise = torch.randn(len(condition), generator.noise, generator=random, device=condition.device)
    return generator(noise, condition)
