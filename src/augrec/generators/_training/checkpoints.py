"""Checkpoints of a training, in memory and on disk: enough to continue bit for bit.

One file of safetensors with the facts as JSON in its header, so that whoever reads it while another
process replaces it has all of one checkpoint.
"""

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
from safetensors.torch import load, save_file
from torch import Tensor

import augrec
from augrec.core.component import Configured
from augrec.core.files import digest, whole_file
from augrec.data.training_data import TrainingData
from augrec.generators._training.train_state import TrainState

_logger = logging.getLogger(__name__)
_FILE, _FACTS = "checkpoint.safetensors", "facts"
_CODE = Path(augrec.__file__).parent
"""The whole package: generators train with code of `nn`, `recommenders` and `data` too."""
_SHARE_OF_TIME = 0.05
_GLOBAL, _GLOBAL_CUDA = "global_random", "global_cuda_random"


@dataclass(frozen=True)
class Checkpoint:
    """A train state at one step.

    Attributes:
        step: updates taken.
        tensors: weights, optimizer moments and states of torch generators, on the CPU.
        facts: what else optimizers and NumPy generators hold, as JSON has it.
        rows: the training curve up to this step.
        failures: why earlier attempts at this training ended.
    """

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    rows: list[dict[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def take_checkpoint(
    state: TrainState, step: int, rows: list[dict[str, float]], failures: list[str]
) -> Checkpoint:
    """A copy of all that changes while a train state advances."""
    tensors: dict[str, Tensor] = {_GLOBAL: torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors[_GLOBAL_CUDA] = torch.cuda.get_rng_state()
    facts: dict[str, Any] = {"optimizers": {}, "randoms": {}}
    for name, module in state.modules.items():
        tensors |= {
            f"module.{name}.{key}": _copy(value) for key, value in module.state_dict().items()
        }
    for name, optimizer in state.optimizers.items():
        plain = facts["optimizers"].setdefault(name, [])
        for index, entry in optimizer.state_dict()["state"].items():
            for key, value in entry.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{name}.{index}.{key}"] = _copy(value)
                else:
                    plain.append([index, key, value])
    for name, random in state.randoms.items():
        if isinstance(random, torch.Generator):
            tensors[f"random.{name}"] = random.get_state().clone()
        else:
            facts["randoms"][name] = dict(random.bit_generator.state)
    return Checkpoint(step, tensors, facts, list(rows), list(failures))


def restore(state: TrainState, checkpoint: Checkpoint) -> None:
    """Bring a train state to a checkpoint; its learning rates stay its own."""
    tensors = checkpoint.tensors
    for name, module in state.modules.items():
        module.load_state_dict(_below(tensors, f"module.{name}."))
    for name, optimizer in state.optimizers.items():
        entries: dict[int, dict[str, Any]] = {}
        for key, value in _below(tensors, f"optimizer.{name}.").items():
            index, _, word = key.partition(".")
            entries.setdefault(int(index), {})[word] = value.clone()
        for number, word, value in checkpoint.facts["optimizers"][name]:
            entries.setdefault(int(number), {})[word] = value
        optimizer.load_state_dict(
            {"state": entries, "param_groups": optimizer.state_dict()["param_groups"]}
        )
    for name, random in state.randoms.items():
        if isinstance(random, torch.Generator):
            random.set_state(tensors[f"random.{name}"].clone())
        else:
            random.bit_generator.state = checkpoint.facts["randoms"][name]
    torch.set_rng_state(tensors[_GLOBAL])
    if _GLOBAL_CUDA in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[_GLOBAL_CUDA])


class CheckpointStore:
    """The latest checkpoint of one training on disk; that of another training is not used.

    Args:
        folder: where; None: nothing is kept.
        fingerprint: of the training, see `fingerprint`.
    """

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self._folder, self._fingerprint = folder, fingerprint
        self._due = 0.0

    def read(self) -> Checkpoint | None:
        """The checkpoint to continue from, if there is one."""
        if self._folder is None or not (self._folder / _FILE).exists():
            return None
        try:
            # read once: safetensors opens a file by its name again for the tensors
            content = (self._folder / _FILE).read_bytes()
            header = content[8 : 8 + int.from_bytes(content[:8], "little")]
            facts = json.loads(json.loads(header)["__metadata__"][_FACTS])
            if facts.pop("fingerprint") != self._fingerprint:
                _logger.warning(
                    "the checkpoint in %s is of other code, settings or data: training starts anew",
                    self._folder,
                )
                return None
            return Checkpoint(tensors=load(content), **facts)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError):
            _logger.warning(
                "the checkpoint in %s cannot be read: training starts anew", self._folder
            )
            return None

    def write(self, checkpoint: Checkpoint, *, now: bool = False) -> None:
        """Keep a checkpoint, unless writing the last one took more than a small share of the time
        since; `now`: in any case."""
        if self._folder is None or (not now and time.monotonic() < self._due):
            return
        began = time.monotonic()
        facts = {
            "fingerprint": self._fingerprint,
            "step": checkpoint.step,
            "facts": checkpoint.facts,
            "rows": checkpoint.rows,
            "failures": checkpoint.failures,
        }
        with whole_file(self._folder / _FILE) as draft:
            save_file(checkpoint.tensors, draft, {_FACTS: json.dumps(facts, allow_nan=False)})
        ended = time.monotonic()
        self._due = ended + (ended - began) / _SHARE_OF_TIME

    def remove(self) -> None:
        """Delete it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def fingerprint(generator: Configured, data: TrainingData) -> str:
    """A digest of all that a checkpoint must agree in: code, configuration, seed, hardware, data.

    Empty where no checkpoint is kept.
    """
    if data.checkpoints is None:
        return ""
    # "*.py": not what Python compiles meanwhile
    hasher = hashlib.sha256(digest(_CODE, "*.py").encode())
    settings = [
        generator.name(),
        generator.config.model_dump(mode="json"),
        generator.seed,
        torch.__version__,
        data.hardware.model_dump(mode="json"),
    ]
    hasher.update(json.dumps(settings, sort_keys=True).encode())
    for table in (data.interactions, data.users, data.items):
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
