"""Rows of a training curve reach whoever follows, while the stage runs, and never hold the stage
up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from augrec.core.errors import TransientError
from augrec.stages import runner
from augrec.versioning import curve_tail


class CurveSink:
    """Keeps what it is told; fails the first few times."""

    def __init__(self, failures: int = 0) -> None:
        self.batches: list[list[int]] = []
        self.ended: list[bool] = []
        self._failures = failures

    def send(self, rows: list[dict[str, Any]]) -> None:
        if self._failures:
            self._failures -= 1
            raise TransientError("the store is down")
        self.batches.append([row["row"]["step"] for row in rows])

    def end(self, *, failed: bool) -> None:
        self.ended.append(failed)

    @property
    def steps(self) -> list[int]:
        return [step for batch in self.batches for step in batch]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve_tail, "POLL_INTERVAL_S", 0.01)


@pytest.fixture
def curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "curve.jsonl"
    monkeypatch.setenv(runner.CURVE_VARIABLE, str(path))
    return path


def tell(*steps: int) -> None:
    for step in steps:
        runner.tell_curve("generator", "gan", {"step": step, "loss": 0.5})


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert true()


def test_rows_are_handed_on_while_the_stage_runs_and_each_once(curve):
    sink = CurveSink()
    with curve_tail.tail_curve(curve, sink):
        tell(1, 2)
        wait_until(lambda: sink.steps == [1, 2])
        tell(3)
        wait_until(lambda: len(sink.steps) == 3)
        tell(4)
    assert sink.steps == [1, 2, 3, 4]
    assert sink.ended == [False]


def test_a_line_that_is_half_written_waits_for_its_end(curve):
    sink = CurveSink()
    line = json.dumps({"role": "generator", "name": "gan", "row": {"step": 7}}) + "\n"
    with curve_tail.tail_curve(curve, sink), curve.open("a") as file:
        file.write(line + line[:20])
        file.flush()
        wait_until(lambda: sink.batches == [[7]])
        file.write(line[20:])
    assert sink.steps == [7, 7]


def test_a_sink_that_fails_gets_the_rows_later(curve, caplog):
    sink = CurveSink(failures=3)
    with curve_tail.tail_curve(curve, sink):
        tell(1, 2, 3)
        wait_until(lambda: bool(sink.batches))
    assert sink.batches == [[1, 2, 3]]
    assert caplog.text.count("cannot be forwarded at the moment: the store is down") == 1


def test_a_stage_neither_fails_nor_waits_long_for_a_sink_that_hangs(curve, monkeypatch, caplog):
    monkeypatch.setattr(curve_tail, "FINAL_WAIT_S", 0.05)
    hanging = threading.Event()

    class Hanging(CurveSink):
        def send(self, rows: list[dict[str, Any]]) -> None:
            hanging.wait(60)

    with curve_tail.tail_curve(curve, Hanging()):
        tell(1)
    assert "was not forwarded to its end" in caplog.text
    hanging.set()


def test_a_stage_that_fails_says_so_and_its_error_is_its_own(curve):
    sink = CurveSink()
    with pytest.raises(KeyError, match="of the stage"), curve_tail.tail_curve(curve, sink):
        tell(1)
        raise KeyError("of the stage")
    assert sink.batches == [[1]]
    assert sink.ended == [True]


def test_nothing_is_written_where_no_reader_follows(tmp_path, monkeypatch):
    monkeypatch.delenv(runner.CURVE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    tell(1)
    assert list(tmp_path.iterdir()) == []
