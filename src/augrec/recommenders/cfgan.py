"""CFGAN: a generator writes a user's profile from noise and the user's history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from augrec.core.data_shape import DataShape
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.nn.arrays import with_column
from augrec.nn.averages import average_share, move_average
from augrec.nn.cfgan import (
    AdversarialConfig,
    AdversarialTrainer,
    CfganCritic,
    CfganGenerator,
    check_cfgan_memory,
    merged,
    split,
)
from augrec.nn.profile_batches import ProfileBatches
from augrec.recommenders._neural.base import LARGE_CATALOGUES, NeuralConfig, NeuralRecommender


class CfganConfig(AdversarialConfig, NeuralConfig):
    """The adversarial training, the number of generators, and a training loop of a fixed length."""

    generators: int = Field(1, ge=1)
    """The number of generators trained at once, each from its own initial weights and against its
    own critic; the means of their logits are what is scored (deep ensembles, Lakshminarayanan,
    Pritzel, Blundell 2017). Time and memory are in proportion."""
    learning_rate: float = Field(3e-3, gt=0)
    """Of Adam, for both networks."""

    passes: ClassVar[int] = 50

    def share_read(self, shape: DataShape) -> float:
        """A step reads whole users."""
        return shape.share_read(self.batch_size)


class Cfgan(NeuralRecommender):
    """A generative adversarial network that reads a history and generates the whole profile; see
    `augrec.nn.cfgan.AdversarialTrainer`.

    Scores are the logits of what it writes without noise, which is the noise's mean. Entries that
    are targets only are never read.
    """

    Config = CfganConfig
    architecture = ("hidden", "noise", "generators")
    search_space: ClassVar = {
        "learning_rate": {"low": 0.0003, "high": 0.005, "log": True},
        "zero_weight": {"low": 0.02, "high": 0.5, "log": True},
        "partial_masking": {"low": 0.02, "high": 0.5, "log": True},
        "dropout": {"low": 0.2, "high": 0.8},
        "adversarial_epsilon": [0.0, 0.1, 0.3],
    }
    regularisation: ClassVar = {"weight_decay": [0.1]}

    _network: CfganGenerator

    def check_fits(self, shape: DataShape) -> None:
        """Refuse a catalogue whose batches of users × items do not fit in memory."""
        check_cfgan_memory(
            self.config,
            self.section(),
            self._device,
            shape.n_items,
            n_generators=self.config.generators,
            instead=LARGE_CATALOGUES,
        )

    def _fit(self, data: TrainingData) -> None:
        self.check_fits(data.shape)
        super()._fit(data)

    def _initialise(self, data: TrainingData) -> None:
        histories = data.histories
        self._network.start_at(self.popularity * len(histories.items) / len(histories))

    def _descend(self, data: TrainingData) -> Iterator[torch.Tensor]:
        config, examples = self.config, ProfileBatches(data.histories, self._device)
        writers = [writer.train() for writer in split(self._network, config, config.generators)]
        critics = [
            CfganCritic(len(self.items), config.critic_hidden).to(self._device) for _ in writers
        ]
        games = [
            AdversarialTrainer(
                *players, config, adversary=self._adversary(players[0].lookup, softmax=False)
            )
            for players in zip(writers, critics, strict=True)
        ]
        batches = examples.batches(config.batch_size, config.steps, config.truncate)
        for step, batch in enumerate(batches, start=1):
            losses = [game.step(batch) for game in games]
            share = average_share(config.average, step - 1)
            move_average(self._network, merged(writers, config), share)
            yield torch.stack(
                [torch.stack([one[name] for one in losses]).mean() for name in self._losses()]
            )

    def _losses(self) -> Sequence[str]:
        return ["loss", "critic", "zeros", "variety"]

    @torch.inference_mode()
    def _scores(self, histories: Histories) -> np.ndarray:
        return self._network.write(self._states(histories)).cpu().numpy()

    @torch.inference_mode()
    def _states(self, histories: Histories) -> torch.Tensor:
        """The hidden layer after the histories, without noise: (B, hidden)."""
        seen = histories.matrix()
        seen.data[:] = 1
        return self._network.state(torch.from_numpy(seen.toarray()).to(self._network.where))

    def item_factors(self) -> np.ndarray:
        """The last layer's weights and biases."""
        return with_column(self._network.write.weight, self._network.write.bias)

    def user_factors(self, histories: Histories) -> np.ndarray:
        """The hidden layer, and a one."""
        states = self._states(histories)
        return with_column(states, states.new_ones(len(states)))

    def _build(self) -> CfganGenerator:
        n = self.config.generators
        return merged([CfganGenerator(len(self.items), self.config) for _ in range(n)], self.config)
