"""The state of a training, in memory and on disk: enough to go on bit for bit. Safetensors and
JSON."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import augrec
from augrec.core.component import Configured
from augrec.core.files import digest, read_json, whole_directory, write_json
from augrec.generators._training.lesson import Lesson
from augrec.generators._training.train_state import Course

_logger = logging.getLogger(__name__)
_TENSORS, _FACTS = "tensors.safetensors", "training.json"
_CODE = Path(augrec.__file__).parent
"""All of it: generators train with code of `recommenders` and `data` too."""
_SHARE_OF_TIME = 0.05
_GLOBAL, _GLOBAL_CUDA = "global_random", "global_cuda_random"


@dataclass(frozen=True)
class State:
    """A course at one step.

    Attributes:
        step: updates taken.
        tensors: weights, optimizer moments and states of torch generators, on the CPU.
        facts: what else the optimizers and NumPy generators hold; JSON.
        rows: the training curve so far.
        seen: the troubles that ended earlier attempts.
    """

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    rows: list[dict[str, float]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


def state_of(course: Course, step: int, rows: list[dict[str, float]], seen: list[str]) -> State:
    """A copy of all that changes while the course trains."""
    tensors: dict[str, Tensor] = {_GLOBAL: torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors[_GLOBAL_CUDA] = torch.cuda.get_rng_state()
    facts: dict[str, Any] = {"optimizers": {}, "randoms": {}}
    for name, module in course.modules.items():
        tensors |= {
            f"module.{name}.{key}": _copy(value) for key, value in module.state_dict().items()
        }
    for name, optimizer in course.optimizers.items():
        plain = facts["optimizers"].setdefault(name, [])
        for index, entry in optimizer.state_dict()["state"].items():
            for key, value in entry.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{name}.{index}.{key}"] = _copy(value)
                else:
                    plain.append([index, key, value])
    for name, random in course.randoms.items():
        if isinstance(random, torch.Generator):
            tensors[f"random.{name}"] = random.get_state().clone()
        else:
            facts["randoms"][name] = dict(random.bit_generator.state)
    return State(step, tensors, facts, list(rows), list(seen))


def put_back(course: Course, state: State) -> None:
    """Bring a course to a state; its learning rates stay its own."""
    tensors = state.tensors
    for name, module in course.modules.items():
        module.load_state_dict(_below(tensors, f"module.{name}."))
    for name, optimizer in course.optimizers.items():
        entries: dict[int, dict[str, Any]] = {}
        for key, value in _below(tensors, f"optimizer.{name}.").items():
            index, _, word = key.partition(".")
            entries.setdefault(int(index), {})[word] = value.clone()
        for number, word, value in state.facts["optimizers"][name]:
            entries.setdefault(int(number), {})[word] = value
        optimizer.load_state_dict(
            {"state": entries, "param_groups": optimizer.state_dict()["param_groups"]}
        )
    for name, random in course.randoms.items():
        if isinstance(random, torch.Generator):
            random.set_state(tensors[f"random.{name}"].clone())
        else:
            random.bit_generator.state = state.facts["randoms"][name]
    torch.set_rng_state(tensors[_GLOBAL])
    if _GLOBAL_CUDA in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[_GLOBAL_CUDA])


class Checkpoints:
    """The latest sound state on disk, of one training; another training's is not taken for it.

    Args:
        folder: where; None: nowhere.
        fingerprint: of the training: see `fingerprint`.
    """

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self._folder, self._fingerprint = folder, fingerprint
        self._due = 0.0

    def read(self) -> State | None:
        """The state to go on from, if there is one."""
        if self._folder is None or not (self._folder / _FACTS).exists():
            return None
        try:
            facts = read_json(self._folder / _FACTS)
            if facts.pop("fingerprint") != self._fingerprint:
                _logger.warning(
                    "the checkpoint in %s is of other code, settings or data: training begins anew",
                    self._folder,
                )
                return None
            facts["rows"] = [dict(row) for row in facts["rows"]]
            return State(tensors=load_file(self._folder / _TENSORS), **facts)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError):
            _logger.warning(
                "the checkpoint in %s cannot be read: training begins anew", self._folder
            )
            return None

    def write(self, state: State, *, now: bool = False) -> None:
        """Keep a state, unless writing the last one took more than a small share of the time
        since."""
        if self._folder is None or (not now and time.monotonic() < self._due):
            return
        began = time.monotonic()
        rows = [
            list(row.items()) for row in state.rows
        ]  # JSON objects are written sorted, curves are not
        facts = {"step": state.step, "facts": state.facts, "rows": rows, "seen": state.seen}
        with whole_directory(self._folder) as draft:
            save_file(state.tensors, draft / _TENSORS)
            write_json(draft / _FACTS, {"fingerprint": self._fingerprint, **facts})
        ended = time.monotonic()
        self._due = ended + (ended - began) / _SHARE_OF_TIME

    def remove(self) -> None:
        """Forget it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def fingerprint(generator: Configured, lesson: Lesson) -> str:
    """What a checkpoint must agree in: code, configuration, seed, hardware and data; empty where
    none is kept."""
    if lesson.checkpoints is None:
        return ""
    hasher = hashlib.sha256(
        digest(_CODE, "*.py").encode()
    )  # and not what Python compiles meanwhile
    told = [
        generator.name(),
        generator.config.model_dump(mode="json"),
        generator.seed,
        torch.__version__,
    ]
    hasher.update(
        json.dumps([*told, lesson.hardware.model_dump(mode="json")], sort_keys=True).encode()
    )
    for table in (lesson.interactions, lesson.users, lesson.items):
        if table is None:
            continue
        hasher.update(repr(table.schema).encode())
        hasher.update(table.hash_rows(seed=0).to_numpy().astype(np.uint64).tobytes())
    return hasher.hexdigest()


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
