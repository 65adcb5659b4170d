"""A conditional GAN over vectors of a few dozen numbers: small networks, so that thousands of steps
take seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from augrec.core.seeds import derive
from augrec.generators._training.adversarial import Batch, GanConfig, gan_train_state
from augrec.generators._training.modules import perceptron, seeded_weights
from augrec.generators._training.train_state import TrainState


class VectorGanConfig(GanConfig):
    """Sizes of the networks, and their training."""

    passes: ClassVar[float] = 200
    fewest_steps: ClassVar[int] = 1_500

    batch_size: int = Field(256, ge=2)
    """Vectors in a batch."""
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

    def draw(self, condition: Tensor, random: torch.Generator) -> Tensor:
        """One vector (B, width) under each condition (B, condition)."""
        noise = torch.randn(len(condition), self.noise, generator=random, device=condition.device)
        return self(noise, condition)


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
    with seeded_weights(seed):
        generator = VectorGenerator(config.noise, condition, config.hidden, width)
        critic = VectorCritic(condition, config.hidden, width)
    return generator.to(device), critic.to(device)


def vector_train_state(
    config: VectorGanConfig,
    vectors: Tensor,
    conditions: Tensor,
    *,
    seed: int,
    lr_factor: float,
    statistics: Callable[[VectorGenerator], dict[str, float]],
) -> TrainState:
    """A fresh training, see `gan_train_state`.

    Args:
        config: sizes and training.
        vectors: the real ones, float32 (n, width), on the device to train on.
        conditions: float32 (n, condition), there too.
        seed: of weights, batches and noise.
        lr_factor: the learning rates are multiplied by it.
        statistics: measures a sample of the averaged generator.
    """
    random = torch.Generator(vectors.device).manual_seed(derive(seed, "training"))
    generator, critic = new_networks(
        config, vectors.shape[1], conditions.shape[1], vectors.device, seed
    )

    def batch() -> Batch:
        rows = torch.randint(
            len(vectors), (config.batch_size,), generator=random, device=vectors.device
        )
        condition = conditions[rows]
        return vectors[rows], generator.draw(condition, random), condition

    return gan_train_state(
        config,
        generator,
        critic,
        batch,
        random=random,
        seed=seed,
        lr_factor=lr_factor,
        statistics=lambda average: statistics(cast(VectorGenerator, average)),
    )
