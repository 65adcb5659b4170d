"""What neural generators share: device and random draws, the monitored training loop, statistics of
samples, storage of networks, batches of bounded size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import nn

from augrec.core.config import Auto, BaseConfig
from augrec.core.data_shape import DataShape
from augrec.core.seeds import derive, rng
from augrec.data.item_pairs import ItemPairs
from augrec.data.training_data import TrainingData
from augrec.generators._profile.base import ProfileGenerator
from augrec.generators._training.checkpoints import fingerprint
from augrec.generators._training.loop import train
from augrec.generators._training.modules import from_arrays, to_arrays
from augrec.generators._training.monitor import (
    N_SAMPLED_USERS,
    item_pairs,
    sample_statistics,
)
from augrec.generators._training.train_state import TrainState
from augrec.nn.determinism import fixed_threads
from augrec.nn.device import Device, choose_device

LARGE_CATALOGUES: Final = "latent_gan, item_gan or sequence_gan"
"""The generators that hold no batches of users × items, for messages of the others."""
MOST: Final = 10
"""With `steps: auto`, a training of much data takes this multiple of the fewest steps, at most."""
_CELLS_AT_ONCE = 2**24
"""Numbers of users × items that are held at once."""


class NeuralGeneratorConfig(BaseConfig):
    """Options that every neural generator has.

    Attributes:
        passes: with `steps: auto`, how often training reads what it learns from.
        fewest_steps: that a small set takes.
    """

    passes: ClassVar[float] = 50
    fewest_steps: ClassVar[int] = 400

    steps: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Updates. auto: more for more data, see `training_steps`."""
    batch_size: int = Field(64, ge=1)
    """Users in a step."""
    max_attribute_values: int = Field(32, ge=2)
    """User attributes with more different values are left out; numbers are cut at their quartiles
    instead."""
    log_every: int = Field(50, ge=1)
    """Steps between two points of the training curve."""
    threads: int = Field(1, ge=1)
    """CPU threads; the same number gives the same bytes. More than one is many times slower where
    cores are busy."""
    device: Device = "auto"
    """Where to train and sample; "auto" takes CUDA where there is one. Bytes are the same on the
    same device only."""

    def share_read(self, shape: DataShape) -> float:
        """The share of what training learns from that a step reads: here, whole users."""
        return shape.share_read(self.batch_size)


def training_steps(shape: DataShape, config: NeuralGeneratorConfig) -> int:
    """The steps in which training reads each user `passes` times: a taste is learnt from the times
    that users who have it are read, so a set ten times larger takes ten times the steps of the same
    size, and not the same number, which would teach each a tenth. Small sets take the fewest steps
    that move the weights at all: more would teach a GAN the users themselves, and the audit's
    limits of privacy would be reached. At most ten times as many, for the time they take.
    """
    fewest = config.fewest_steps
    return shape.steps(config.passes, config.share_read(shape), fewest, MOST * fewest)


class NeuralGenerator(ProfileGenerator):
    """A generator whose networks learn in the monitored loop, see `_training.loop.train`.

    A subclass implements `_fit`, which calls `_train`; `_build`, which makes its networks with
    fresh weights; `_modules`, which names those to store; and `_profiles`.
    """

    iterates: ClassVar[bool] = True
    resumes: ClassVar[bool] = True
    rules: ClassVar[Mapping[str, Any]] = {"steps": training_steps}

    _pairs: ItemPairs | None = None

    @property
    def device(self) -> torch.device:
        """Where it trains and samples."""
        return choose_device(self.config.device, self.section())

    @abstractmethod
    def _build(self) -> None:
        """Make the networks, on the device and with the shapes of the fitted state."""

    @abstractmethod
    def _modules(self) -> dict[str, nn.Module]:
        """The networks whose weights are stored, by the names they are stored under."""

    def _random(self, seed: int) -> torch.Generator:
        """A random generator on the device."""
        return torch.Generator(self.device).manual_seed(seed)

    def _train(
        self,
        start: Callable[[float], TrainState],
        data: TrainingData,
        *,
        steps: int | None = None,
        loop: Callable[..., TrainState] = train,
    ) -> TrainState:
        """Run the training loop for `config.steps` or `steps`. A private one, which no statistic of
        real users may enter, is another `loop`.

        Args:
            start: see `_training.loop.train`.
            data: of this training.
            steps: updates, where not `config.steps`.
            loop: `train`, or one with the same arguments.
        """
        self._pairs = item_pairs(data.interactions) if loop is train else None
        with fixed_threads(self.config.threads):
            return loop(
                start,
                name=self.name(),
                steps=self.config.steps if steps is None else steps,
                log_every=self.config.log_every,
                data=data,
                fingerprint=fingerprint(self, data),
            )

    def _statistics(
        self,
        popularity: np.ndarray,
        profiles: Callable[[np.ndarray, int], np.ndarray] | None = None,
    ) -> dict[str, float]:
        """Statistics of a small sample for the training curve, see `sample_statistics`.

        Args:
            popularity: (n_items,), of the training data.
            profiles: draws the sample; by default `_profiles`.
        """
        rows = self.conditions.draw(N_SAMPLED_USERS, {}, rng(self.seed, "look"))
        positions = (profiles or self._profiles)(rows, derive(self.seed, "look"))
        lengths = self.conditions.lengths[rows]
        return sample_statistics(positions, lengths, len(self.items), popularity, self._pairs)

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        with fixed_threads(self.config.threads):
            return super()._sample(n, condition, seed)

    def _batches(self, n: int) -> Iterator[np.ndarray]:
        """Rows 0 … n-1 in order, in parts of which users × items are few enough to hold at once."""
        size = max(1, _CELLS_AT_ONCE // len(self.items))
        for start in range(0, n, size):
            yield np.arange(start, min(start + size, n))

    def _state(self) -> dict[str, np.ndarray]:
        return {**super()._state(), **to_arrays(self._modules())}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        super()._restore(state)
        self._build()
        from_arrays(state, self._modules())
