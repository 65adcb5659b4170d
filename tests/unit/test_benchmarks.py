"""Every benchmark can be started: its imports exist and its command line can be read."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
COMMANDS = sorted(
    path.stem for path in HOME.glob("benchmarks/*.py") if "__main__" in path.read_text()
)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_says_how_to_use_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(HOME)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_the_runner_of_our_own_recommenders_says_how_to_use_it() -> None:
    command = [sys.executable, "benchmarks/runners/run_augrec.py", "--help"]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
