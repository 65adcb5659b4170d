"""The training loop of every generator: watched, resumable, tried again with gentler settings when
it breaks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
from torch import Tensor

from augrec.core.errors import RefusedError
from augrec.generators._training.checkpoints import Checkpoints, fingerprint, put_back, state_of
from augrec.generators._training.hardware import CaptureError, Engine, leads
from augrec.generators._training.lesson import Lesson
from augrec.generators._training.memory import keep_freed_memory
from augrec.generators._training.monitor import Trouble, Watch, look_at_real
from augrec.generators._training.train_state import Course

__all__ = ["fingerprint", "train"]

RETRIES = 3
GENTLER = 0.25
_logger = logging.getLogger(__name__)


def train(
    begin: Callable[[float], Course],
    *,
    name: str,
    steps: int,
    log_every: int,
    lesson: Lesson,
    fingerprint: str = "",
) -> Course:
    """Train under guard.

    Every `log_every` steps, and after the last, the course is looked at. A sound look becomes a row
    of the curve and the state to fall back on. That state is on disk too, where the lesson names a
    folder, and an interrupted training goes on from it bit for bit. On trouble a course with
    smaller learning rates goes on from the last sound state; if that breaks too, even gentler ones
    begin anew, since the trouble may have begun before it could be seen. Their rows of the curve
    take the place of those before: a row stands for its step and ends what was told of later ones.
    Of a training that is refused the curve holds the rows that showed the trouble too.

    Args:
        begin: makes a fresh course whose learning rates are multiplied by the factor; the same for
            the same factor.
        name: the generator's.
        steps: updates to take.
        log_every: steps between two looks.
        lesson: receives the curve; names the folder for checkpoints and the hardware.
        fingerprint: see `_checkpoints.fingerprint`; a checkpoint with another one is not used.

    Returns:
        The trained course.

    Raises:
        RefusedError: training broke at every attempt; says what was seen.
    """
    keep_freed_memory()
    engine = Engine(lesson.hardware)
    engine.launch()
    training = _Training(
        name, steps, log_every, lesson, engine, Checkpoints(lesson.checkpoints, fingerprint)
    )
    while True:
        try:
            return training.attempt(begin)
        except CaptureError as error:
            _logger.warning(
                "%s cannot be captured as a CUDA graph, and trains without: %s", name, error
            )
            engine.give_up_capture()
        except Trouble as trouble:
            training.give_up_or_go_back(trouble)


class _Training:
    """The attempts at one training, and the last sound state they begin at; None is a fresh
    course."""

    def __init__(
        self,
        name: str,
        steps: int,
        log_every: int,
        lesson: Lesson,
        engine: Engine,
        checkpoints: Checkpoints,
    ) -> None:
        self._name, self._steps, self._every = name, steps, log_every
        self._lesson, self._engine, self._checkpoints = lesson, engine, checkpoints
        self._real = look_at_real(lesson.interactions)
        self._step = 0
        self._waiting: list[dict[str, float]] = []  # in doubt, not told yet
        self._good = checkpoints.read()
        self._seen: list[str] = [] if self._good is None else self._good.seen
        if self._good is not None:
            _logger.info(
                "%s goes on from its checkpoint at step %d of %d", name, self._good.step, steps
            )
            for row in self._good.rows:
                lesson.log(row)

    def attempt(self, begin: Callable[[float], Course]) -> Course:
        """Train to the end.

        Raises:
            Trouble: it cannot go on.
            CaptureError: it must be tried without CUDA graphs.
        """
        course = begin(GENTLER ** len(self._seen))
        watch, rows = Watch(self._real, self._steps), list[dict[str, float]]()
        step = self._engine.prepare(course)
        if self._good is not None:
            put_back(course, self._good)
            rows = list(self._good.rows)
            for row in rows:
                watch.see(row)
        self._step = 0 if self._good is None else self._good.step
        self._engine.part(course, self._step)
        self._waiting = []
        began = (time.monotonic(), self._step)
        while self._step < self._steps:
            row = self._advance(course, step)
            self._waiting.append(row)
            if not watch.see(row):
                _logger.info(
                    "%s, step %d: in doubt, the next look will tell", self._name, self._step
                )
                continue
            rows += self._waiting
            self._tell()
            self._good = None  # two at once would be the most memory of all
            self._good = state_of(course, self._step, rows, self._seen)
            if leads():
                self._checkpoints.write(self._good, now=self._step == self._steps)
            self._engine.part(course, self._step)
            if leads():
                self._tell_progress(*began)
        return course

    def give_up_or_go_back(self, trouble: Trouble) -> None:
        """Prepare a gentler attempt.

        Raises:
            RefusedError: there were enough.
        """
        self._seen.append(f"step {self._step}: {trouble}")
        if len(self._seen) > 1:
            self._good = None
        if len(self._seen) <= RETRIES:
            _logger.warning(
                "%s, step %d: %s. It is tried again from step %d with learning rates × %g",
                self._name,
                self._step,
                trouble,
                0 if self._good is None else self._good.step,
                GENTLER ** len(self._seen),
            )
            return
        self._tell()
        self._checkpoints.remove()  # going on from it would end here again
        raise RefusedError(
            f"the training of {self._name} broke {len(self._seen)} times, each time with gentler "
            "settings: " + "; ".join(self._seen),
            where=f"{self._name}, step {self._step} of {self._steps}",
            fix=f"lower generators.{self._name}.learning_rate, or train on more data; nothing was "
            "published",
        )

    def _advance(self, course: Course, step: Callable[[], dict[str, Tensor]]) -> dict[str, float]:
        """Take the steps up to the next look; gives a row of the curve: mean losses, and what the
        look found.

        There is no look where a loss is not a number.
        """
        sums: dict[str, Tensor] = {}
        until = min(self._steps, (self._step // self._every + 1) * self._every)
        taken = until - self._step
        for _ in range(taken):
            for key, loss in step().items():
                sums[key] = sums[key] + loss.detach() if key in sums else loss.detach()
        self._step = until
        means = self._engine.mean({key: total / taken for key, total in sums.items()})
        sound = np.isfinite(list(means.values())).all()
        return {"step": self._step, **means, **(course.look() if sound else {})}

    def _tell(self) -> None:
        for row in self._waiting:
            self._lesson.log(row)
        self._waiting = []

    def _tell_progress(self, began: float, first: int) -> None:
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
