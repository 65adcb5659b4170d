"""The training loop of every neural generator: monitored, resumable, repeated with lower learning
rates when it diverges."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor

from augrec.core.errors import RefusedError
from augrec.data.training_data import TrainingData
from augrec.generators._training.checkpoints import CheckpointStore, restore, take_checkpoint
from augrec.generators._training.hardware import CaptureError, Engine, is_main_process
from augrec.generators._training.monitor import (
    TaughtNothing,
    TrainingDiverged,
    TrainingMonitor,
    real_statistics,
)
from augrec.generators._training.train_state import TrainState
from augrec.nn.memory import keep_freed_memory

RETRIES = 3
LR_FACTOR = 0.25
_logger = logging.getLogger(__name__)


def one_of_several(data: TrainingData, part: str, *, after: int = 0) -> TrainingData:
    """The data for one of several trainings in turn: with checkpoints of its own, and a curve that
    continues after `after` steps."""
    return replace(
        data,
        log=lambda row: data.log({**row, "step": row["step"] + after}),
        checkpoints=None if data.checkpoints is None else data.checkpoints / part,
    )


def train(
    start: Callable[[float], TrainState],
    *,
    name: str,
    steps: int,
    log_every: int,
    data: TrainingData,
    fingerprint: str = "",
) -> TrainState:
    """Train under the monitor.

    Every `log_every` steps, and after the last, statistics of a sample are taken. A sound row joins
    the curve, and the state becomes the checkpoint to fall back to. The checkpoint is on disk too,
    where the data name a folder, and an interrupted training continues from it bit for bit. When
    training diverges, a state with lower learning rates continues from the last checkpoint; if that
    diverges too, even lower rates start anew, since the cause may lie before it could be seen.
    Their rows replace those logged before: a row stands for its step and voids those of later
    steps. The curve of a training that is refused also holds the rows that showed why.

    Args:
        start: makes a fresh state whose learning rates are multiplied by the factor; the same state
            for the same factor.
        name: the generator's.
        steps: updates to take.
        log_every: steps between two rows of the curve.
        data: receives the curve; names the folder for checkpoints and the hardware.
        fingerprint: see `checkpoints.fingerprint`; a checkpoint with another one is not used.

    Returns:
        The trained state.

    Raises:
        RefusedError: training diverged at every attempt, or taught nothing; the message says how.
    """
    keep_freed_memory()
    engine = Engine(data.hardware)
    engine.launch()
    store = CheckpointStore(data.checkpoints, fingerprint)
    training = _Training(name, steps, log_every, data, engine, store)
    while True:
        try:
            return training.attempt(start)
        except CaptureError as error:
            _logger.warning(
                "%s cannot be captured as a CUDA graph, and trains without: %s", name, error
            )
            engine.give_up_capture()
        except TrainingDiverged as reason:
            training.go_back_or_refuse(reason)
        except TaughtNothing as reason:
            raise training.nothing_learnt(reason) from None


class _Training:
    """The attempts at one training, and the checkpoint they start from; None is a fresh state."""

    def __init__(
        self,
        name: str,
        steps: int,
        log_every: int,
        data: TrainingData,
        engine: Engine,
        store: CheckpointStore,
    ) -> None:
        self._name, self._steps, self._every = name, steps, log_every
        self._data, self._engine, self._store = data, engine, store
        self._real = real_statistics(data.interactions)
        self._step = 0
        self._suspicious: list[dict[str, float]] = []  # rows that are not logged yet
        self._checkpoint = store.read()
        self._failures: list[str] = [] if self._checkpoint is None else self._checkpoint.failures
        if self._checkpoint is not None:
            _logger.info(
                "%s continues from its checkpoint at step %d of %d",
                name,
                self._checkpoint.step,
                steps,
            )
            for row in self._checkpoint.rows:
                data.log(row)

    def attempt(self, start: Callable[[float], TrainState]) -> TrainState:
        """Train to the end.

        Raises:
            TrainingDiverged: it cannot continue.
            TaughtNothing: it has ended where it began.
            CaptureError: it must be tried without CUDA graphs.
        """
        state = start(LR_FACTOR ** len(self._failures))
        monitor, rows = TrainingMonitor(self._real, self._steps), list[dict[str, float]]()
        step = self._engine.prepare(state)
        if self._checkpoint is not None:
            restore(state, self._checkpoint)
            rows = list(self._checkpoint.rows)
            for row in rows:
                monitor.check(row)
        self._step = 0 if self._checkpoint is None else self._checkpoint.step
        self._engine.reseed(state, self._step)
        self._suspicious = []
        began = (time.monotonic(), self._step)
        while self._step < self._steps:
            row = self._advance(state, step)
            self._suspicious.append(row)
            if not monitor.check(row):
                _logger.info(
                    "%s, step %d: suspicious, the next row decides", self._name, self._step
                )
                continue
            rows += self._suspicious
            self._log_rows()
            self._checkpoint = None  # two at once would be the most memory of all
            self._checkpoint = take_checkpoint(state, self._step, rows, self._failures)
            if is_main_process():
                self._store.write(self._checkpoint, now=self._step == self._steps)
            self._engine.reseed(state, self._step)
            if is_main_process():
                self._log_progress(*began)
        return state

    def go_back_or_refuse(self, reason: TrainingDiverged) -> None:
        """Prepare an attempt with lower learning rates.

        Raises:
            RefusedError: there were enough attempts.
        """
        self._failures.append(f"step {self._step}: {reason}")
        if len(self._failures) > 1:
            self._checkpoint = None
        if len(self._failures) <= RETRIES:
            _logger.warning(
                "%s, step %d: %s. It is tried again from step %d with learning rates × %g",
                self._name,
                self._step,
                reason,
                0 if self._checkpoint is None else self._checkpoint.step,
                LR_FACTOR ** len(self._failures),
            )
            return
        self._log_rows()
        self._store.remove()  # continuing from it would end here again
        raise RefusedError(
            f"the training of {self._name} diverged {len(self._failures)} times, each time with "
            "lower learning rates: " + "; ".join(self._failures),
            where=f"{self._name}, step {self._step} of {self._steps}",
            fix=f"lower generators.{self._name}.learning_rate, or train on more data; nothing was "
            "published",
        )

    def nothing_learnt(self, reason: TaughtNothing) -> RefusedError:
        """The error for a training that ended where it began; lower learning rates teach no
        more."""
        self._log_rows()
        self._store.remove()
        return RefusedError(
            f"the training of {self._name} taught it nothing: {reason}",
            where=f"{self._name}, step {self._step} of {self._steps}",
            fix=f"raise generators.{self._name}.steps, learning_rate or batch_size; or take "
            "another generator: latent_gan where users have few of many items",
        )

    def _advance(
        self, state: TrainState, step: Callable[[], dict[str, Tensor]]
    ) -> dict[str, float]:
        """Take the steps up to the next row of the curve, and make it: mean losses, then statistics
        of a sample; losses alone where one is not a number."""
        sums: dict[str, Tensor] = {}
        until = min(self._steps, (self._step // self._every + 1) * self._every)
        taken = until - self._step
        for _ in range(taken):
            for key, loss in step().items():
                sums[key] = sums[key] + loss.detach() if key in sums else loss.detach()
        self._step = until
        means = self._engine.mean({key: total / taken for key, total in sums.items()})
        sound = np.isfinite(list(means.values())).all()
        return {"step": self._step, **means, **(state.statistics() if sound else {})}

    def _log_rows(self) -> None:
        for row in self._suspicious:
            self._data.log(row)
        self._suspicious = []

    def _log_progress(self, began: float, first: int) -> None:
        rate = (self._step - first) / max(time.monotonic() - began, 1e-9)
        left = (self._steps - self._step) / rate
        _logger.info(
            "%s: step %d of %d, %.1f steps/s, %.0f s left",
            self._name,
            self._step,
            self._steps,
            rate,
            left,
        )
