"""What neural recommenders share: a training loop of a fixed length, checkpoints, a start at
another's weights, storage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.core.errors import RefusedError
from augrec.core.seeds import derive
from augrec.data.histories import Histories
from augrec.nn.determinism import reproducible
from augrec.nn.device import Device, choose_device
from augrec.nn.transfer import transfer
from augrec.recommenders._neural.checkpoint import Best
from augrec.recommenders.base import Log, Recommender


class NeuralConfig(BaseConfig):
    """A training loop of a fixed length: every policy gets the same number of gradient steps."""

    steps: int = Field(400, ge=1)
    """Gradient steps."""
    eval_every: int = Field(50, ge=1)
    """Validate after so many steps; the best checkpoint is kept. Without cases the last one is."""
    threads: int = Field(1, ge=1)
    """CPU threads of training; the same number gives the same bytes."""
    device: Device = "auto"
    """Where training and scoring run; auto: a CUDA device if there is one."""


class NeuralRecommender(Recommender):
    """A recommender that is one network. A subclass implements `_build`, `_begin` and `_descend`,
    and `_scores`.

    Whenever it scores, the network is in evaluation mode, and `_settle` has been called for its
    weights.
    """

    continues = True

    _network: Any
    _best_step: int

    @abstractmethod
    def _build(self) -> torch.nn.Module:
        """A fresh network, on any device."""

    @property
    def _device(self) -> torch.device:
        return choose_device(self.config.device, self.section())

    def _begin(self, histories: Histories) -> None:
        """Give the fresh network the weights that training starts at."""
        self._network.start_at(self.popularity)

    @abstractmethod
    def _descend(self, histories: Histories) -> Iterator[torch.Tensor]:
        """Take `config.steps` gradient steps; yields the losses of each, detached, in the order of
        `_losses`.

        The network is in training mode whenever this goes on.
        """

    def _losses(self) -> Sequence[str]:
        """What `_descend` yields, as it is called in the training curve; the first must stay
        finite."""
        return ["loss"]

    def _settle(self) -> None:
        """Derive from the network's weights what scoring needs besides."""

    def _fit(self, histories: Histories, cases: pl.DataFrame | None, log: Log) -> None:
        config = self.config
        with reproducible(derive(self.seed, self.name()), config.threads):
            self._network = self._build().to(self._device)
            self._begin(histories)
            if isinstance(self._start, NeuralRecommender):
                transfer(self._network, self._start._network, self.items, self._start.items)
            best = Best(self, self._network, cases, self._judging)
            if self._start is not None:
                log({"step": 0} | self._offer(best, 0))  # what it begins with may stay the best
            taken: list[torch.Tensor] = []
            for step, losses in enumerate(self._descend(histories), start=1):
                taken.append(losses)
                if step % config.eval_every and step < config.steps:
                    continue
                means, taken = torch.stack(taken).mean(0).reshape(-1).tolist(), []
                if not np.isfinite(means[0]):
                    raise RefusedError(
                        "training broke: the loss is not a number",
                        where=f"{self.name()}, step {step}",
                        fix=f"lower recommenders.{self.name()}.learning_rate",
                    )
                log(
                    {"step": step, **dict(zip(self._losses(), means, strict=True))}
                    | self._offer(best, step)
                )
            self._load(best.weights)
        self._best_step = best.step

    def _offer(self, best: Best, step: int) -> dict[str, float]:
        self._network.eval()
        self._settle()
        measured = best.offer(step)
        self._network.train()
        return measured

    def _load(self, weights: dict[str, torch.Tensor]) -> None:
        self._network.load_state_dict(weights)
        self._network.eval()
        self._settle()

    def describe(self) -> dict[str, int]:
        """Size, steps taken, and the step whose weights were kept."""
        return super().describe() | {"steps": self.config.steps, "best_step": self._best_step}

    def _model_state(self) -> dict[str, np.ndarray]:
        weights = {
            name: tensor.cpu().numpy() for name, tensor in self._network.state_dict().items()
        }
        return weights | {"best_step": np.array([self._best_step])}

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._best_step = int(state.pop("best_step")[0])
        self._network = self._build().to(self._device)
        self._load({name: torch.from_numpy(array) for name, array in state.items()})
