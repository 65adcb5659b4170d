"""The base of neural recommenders: a training loop of a fixed length, the best checkpoint, a start
from another model's weights, storage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import torch
from pydantic import Field

from augrec.core.config import Auto
from augrec.core.data_shape import DataShape
from augrec.core.errors import RefusedError
from augrec.core.seeds import derive
from augrec.data.cases import user_features_of
from augrec.data.training_data import TrainingData
from augrec.nn.determinism import reproducible
from augrec.nn.device import Device, choose_device
from augrec.nn.perturbations import Adversary, Lookups, PerturbationConfig
from augrec.nn.transfer import transfer
from augrec.recommenders.base import Recommender

LARGE_CATALOGUES: Final = "ials, item_knn or sasrec"
"""What to take instead of a recommender that holds batches of users × items."""
_FEWEST = 400
_MAX_CASES = 2_000
"""Of more validation cases, evenly spaced ones are measured."""


class NeuralConfig(PerturbationConfig):
    """A training loop of a fixed length: every policy gets the same number of gradient steps."""

    passes: ClassVar[int] = 20
    """With `steps: auto`, how often training reads each interaction …"""
    most: ClassVar[int] = 4_000
    """… within this number of steps."""

    steps: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Gradient steps. auto: more for more data, see `training_steps`."""
    eval_every: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Steps between validations; the best checkpoint is kept, without cases the last one. auto: 20
    validations, at least 50 steps apart."""
    patience: Annotated[int, Field(ge=1)] | None = 7
    """Training stops after this number of validations without a better one; null: never."""
    threads: int = Field(1, ge=1)
    """CPU threads of training; the same number gives the same bytes."""
    device: Device = "auto"
    """Where training and scoring run; auto: a CUDA device if there is one."""

    @abstractmethod
    def share_read(self, shape: DataShape) -> float:
        """The share of the interactions that a step reads."""


def training_steps(shape: DataShape, config: NeuralConfig) -> int:
    """The steps in which training reads each interaction `passes` times: what a weight learns comes
    from the times its item is read, so a set ten times larger takes ten times the steps of the same
    size. At least 400, since small sets need as many to move the weights at all; at most `most`,
    where CPU time for all arms of a run would go into hours.
    """
    return shape.steps(config.passes, config.share_read(shape), _FEWEST, config.most)


def validation_interval(shape: DataShape, config: NeuralConfig) -> int:
    """Steps between validations: 20 in all, and not more often than every 50 steps."""
    return max(50, int(config.steps) // 20)


class NeuralRecommender(Recommender):
    """A recommender that is one network. A subclass implements `_build`, `_descend` and `_scores`.

    Whenever it scores, the network is in evaluation mode, and `_settle` has been called for its
    weights.
    """

    continues = True
    rules: ClassVar = {"steps": training_steps, "eval_every": validation_interval}

    _network: Any
    _best_step: int

    @abstractmethod
    def _build(self) -> torch.nn.Module:
        """A fresh network, on any device."""

    @abstractmethod
    def _descend(self, data: Any) -> Iterator[torch.Tensor]:
        """Take `config.steps` gradient steps; yields the losses of each, detached, in the order of
        `_losses`.

        The network is in training mode whenever this resumes.

        Args:
            data: the training data, unless `_fit` is overridden to give `_train` something else.
        """

    def _initialise(self, data: Any) -> None:
        """Give the fresh network the weights that training starts from; `data` as for
        `_descend`."""
        self._network.start_at(self.popularity)

    def _losses(self) -> Sequence[str]:
        """The names of what `_descend` yields, for the training curve; the first must stay
        finite."""
        return ["loss"]

    def _settle(self) -> None:
        """Derive from the network's weights what scoring needs besides."""

    def _fit(self, data: TrainingData) -> None:
        self._train(data, data)

    def _train(self, data: TrainingData, examples: Any) -> None:
        """Train a fresh network on `examples`, which `_initialise` and `_descend` are given, and
        keep its best checkpoint.

        Raises:
            RefusedError: the loss is not a number.
        """
        config = self.config
        with reproducible(derive(self.seed, self.name()), config.threads):
            self._network = self._build().to(self._device)
            self._initialise(examples)
            if isinstance(data.previous, NeuralRecommender):
                previous = data.previous
                transfer(self._network, previous._network, self.items, previous.items)
            best = _BestCheckpoint(self, data)
            if data.previous is not None:  # its weights may stay the best
                data.log({"step": 0} | self._validate(best, 0))
            taken: list[torch.Tensor] = []
            last = self._last_step(data)
            for step, losses in enumerate(self._descend(examples), start=1):
                taken.append(losses)
                if step % config.eval_every and step < last:
                    continue
                means, taken = torch.stack(taken).mean(0).reshape(-1).tolist(), []
                if not np.isfinite(means[0]):
                    raise RefusedError(
                        "training diverged: the loss is not a number",
                        where=f"{self.name()}, step {step}",
                        fix=f"lower recommenders.{self.name()}.learning_rate",
                    )
                row = {"step": step, **dict(zip(self._losses(), means, strict=True))}
                data.log(row | self._validate(best, step))
                if step == last or best.is_stale(config.patience):
                    break
            self._load(best.weights)
        self._best_step = best.step

    def _last_step(self, data: TrainingData) -> int:
        """Where training ends at the latest: where `data.decided` was best, as a share of its
        steps, over all of which the learning rate falls."""
        decided, steps = data.decided, int(self.config.steps)
        if not isinstance(decided, NeuralRecommender):
            return steps
        return max(1, round(steps * decided._best_step / int(decided.config.steps)))

    @property
    def _device(self) -> torch.device:
        return choose_device(self.config.device, self.section())

    def _adversary(self, lookups: Lookups, *, softmax: bool) -> Adversary:
        """What moves the vectors that a network looks up, once for a training; see there."""
        config, seed = self.config, derive(self.seed, "adversary")
        return Adversary(config, lookups, config.steps, seed, self._device, softmax=softmax)

    def _validate(self, best: _BestCheckpoint, step: int) -> dict[str, float]:
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


class _BestCheckpoint:
    """The weights that were best on validation cases so far; without cases, or where it is decided
    how long to train, the last ones.

    Attributes:
        step: the step whose weights are kept.
        weights: those weights.
    """

    def __init__(self, recommender: NeuralRecommender, data: TrainingData) -> None:
        self._recommender, self._metric = recommender, data.metric
        self._among = data.metric.among(recommender.items)
        self._cases = None
        if data.decided is None and data.cases is not None and not data.cases.is_empty():
            self._cases = data.cases.gather_every(-(-len(data.cases) // _MAX_CASES))
        self._value, self._since_better = -1.0, 0
        self.step, self.weights = 0, self._copy()

    def offer(self, step: int) -> dict[str, float]:
        """Keep the network's weights if they are better than all before; gives what was measured,
        for the curve."""
        if self._cases is None:
            self.step, self.weights = step, self._copy()
            return {}
        metric, items = self._metric, self._recommender.items
        ranked, _ = self._recommender.rank(
            self._cases["history"],
            metric.cutoff,
            user_features=user_features_of(self._cases),
            among=self._among,
        )
        value = float(metric.values(ranked, self._cases["targets"], items).mean())
        self._since_better += 1
        if value > self._value:
            self._since_better = 0
            self._value, self.step, self.weights = value, step, self._copy()
        return {metric.name: value}

    def is_stale(self, patience: int | None) -> bool:
        """Whether this number of validations brought nothing better."""
        return patience is not None and self._since_better >= patience

    def _copy(self) -> dict[str, torch.Tensor]:
        state = self._recommender._network.state_dict()
        return {name: tensor.clone() for name, tensor in state.items()}
