"""What training runs on: one CPU core, a GPU in mixed precision with captured steps, or several
devices through Lightning Fabric."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from augrec.core.errors import ConfigError
from augrec.core.seeds import derive
from augrec.data.training_data import Hardware
from augrec.generators._training.train_state import TrainState

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Step = Callable[[], dict[str, Tensor]]
_WARM_UP = 3


class CaptureError(Exception):
    """A step could not be captured as a CUDA graph."""


def is_main_process() -> bool:
    """Whether this process publishes what is learnt; False in the others of a distributed
    training."""
    return _rank() == 0


class Engine:
    """Runs the steps of a training on the hardware; on one process without a GPU it adds nothing to
    them."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self._fabric: Fabric | None = None
        self._capture = hardware.capture

    @property
    def distributed(self) -> bool:
        """Whether several processes train together."""
        return self._hardware.devices > 1

    def launch(self) -> None:
        """Start the other processes, which run this very command up to here; to be called before
        anything is put on a device.

        Raises:
            ConfigError: more GPUs are asked for than there are.
        """
        if not self.distributed:
            return
        here = torch.cuda.device_count()
        if 0 < here < self._hardware.devices:
            raise ConfigError(
                f"{self._hardware.devices} GPUs are asked for, there are {here}",
                where="params.yaml, hardware.devices",
                fix=f"set it to {here}",
            )
        self._fabric = self._new_fabric("cuda" if here else "cpu")
        self._fabric.launch()

    def prepare(self, state: TrainState) -> Step:
        """The step of a train state as it runs here.

        Raises:
            ConfigError: the processes were started for another kind of device than the networks
                are on.
        """
        device = next(p for module in state.modules.values() for p in module.parameters()).device
        if self._fabric is None and self._precision(device) != "32-true":
            self._fabric = self._new_fabric(device.type)
        if self._fabric is not None and self._fabric.device.type != device.type:
            raise ConfigError(
                f"several processes train on {self._fabric.device.type}, the generator on "
                f"{device.type}",
                where="params.yaml, hardware.devices",
                fix="set the generator's device to auto, or hardware.devices to 1",
            )
        if self.distributed:
            self._synchronise(state)
        step = self._in_precision(state.step)
        if device.type == "cuda" and state.capturable and self._capture and not self.distributed:
            for optimizer in state.optimizers.values():
                for group in optimizer.param_groups:
                    group["capturable"] = True
            return _Captured(step, state)
        return step

    def give_up_capture(self) -> None:
        """Launch the kernels of a step one after the other from now on."""
        self._capture = False

    def reseed(self, state: TrainState, step: int) -> None:
        """Let every process but the first draw batches of its own from here on.

        Their draws follow from the seed, the process's number and `step` alone, so that a training
        that continues from a checkpoint of this step draws what an uninterrupted one does.
        """
        rank = _rank()
        if not self.distributed or rank == 0:
            return
        for name, random in state.randoms.items():
            seed = derive(state.seed, name, rank, step)
            if isinstance(random, torch.Generator):
                random.manual_seed(seed)
            else:
                random.bit_generator.state = np.random.PCG64(seed).state
        torch.manual_seed(derive(state.seed, rank, step))

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Numbers (0-dimensional tensors), averaged over the processes."""
        stacked = torch.stack([value.detach().float() for value in values.values()])
        if self._fabric is not None and self.distributed:
            stacked = self._all_mean(stacked)
        return dict(zip(values, stacked.tolist(), strict=True))

    def _synchronise(self, state: TrainState) -> None:
        """The same weights everywhere at the start, and the mean gradient at every update."""
        for module in state.modules.values():
            for tensor in module.state_dict().values():
                torch.distributed.broadcast(tensor, src=0)
        for optimizer in state.optimizers.values():
            optimizer.register_step_pre_hook(self._average_gradients)

    def _average_gradients(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        # by hand, and not by wrapping the modules: gradient penalties differentiate twice, which
        # DDP's own hooks do not follow, and steps go on calling the modules they know
        grads = [
            p.grad
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        mean = self._all_mean(torch.cat([grad.reshape(-1) for grad in grads]))
        for grad, part in zip(grads, mean.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def _all_mean(self, tensor: Tensor) -> Tensor:
        assert self._fabric is not None
        return self._fabric.all_reduce(tensor, reduce_op="mean")  # type: ignore[return-value]

    def _in_precision(self, step: Step) -> Step:
        if self._fabric is None:
            return step
        fabric = self._fabric

        def run() -> dict[str, Tensor]:
            with fabric.autocast():
                return step()

        return run

    def _new_fabric(self, kind: str) -> Fabric:
        from lightning.fabric import Fabric

        return Fabric(
            accelerator=kind,
            devices=self._hardware.devices,
            strategy="ddp" if self.distributed else "auto",
            precision=self._precision(torch.device(kind)),
        )

    def _precision(self, device: torch.device) -> Literal["bf16-mixed", "32-true"]:
        wanted = self._hardware.precision
        able = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return "bf16-mixed" if wanted == "bf16" or (wanted == "auto" and able) else "32-true"


class _Captured:
    """A step recorded once and replayed as one CUDA graph, after a few ordinary steps that settle
    all memory."""

    def __init__(self, step: Step, state: TrainState) -> None:
        self._step, self._state = step, state
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._losses: dict[str, Tensor] = {}

    def __call__(self) -> dict[str, Tensor]:
        self._taken += 1
        if self._taken <= _WARM_UP:
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                losses = self._step()
            torch.cuda.current_stream().wait_stream(aside)
            return losses
        if self._graph is None:
            self._graph = self._record()
        self._graph.replay()
        return {name: loss.clone() for name, loss in self._losses.items()}

    def _record(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        cached = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(
            False
        )  # a cached cast would not be computed again by the replay
        try:
            for random in self._state.randoms.values():
                if isinstance(random, torch.Generator) and random.device.type == "cuda":
                    graph.register_generator_state(random)
            with torch.cuda.graph(graph):
                self._losses = {name: loss.detach() for name, loss in self._step().items()}
        except RuntimeError as error:
            raise CaptureError(str(error)) from error
        finally:
            torch.set_autocast_cache_enabled(cached)
        return graph


def _rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))
