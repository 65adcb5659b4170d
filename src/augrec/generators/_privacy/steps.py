"""Differentially private training: DP-SGD with Poisson sampling, by Opacus."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from augrec.core.errors import RefusedError
from augrec.data.training_data import TrainingData
from augrec.generators._privacy.budget import Budget, secret_seed
from augrec.generators._training.checkpoints import CheckpointStore, restore, take_checkpoint
from augrec.generators._training.monitor import TrainingDiverged, TrainingMonitor
from augrec.generators._training.train_state import TrainState

_logger = logging.getLogger(__name__)


class PrivateDescent:
    """Gradient steps that no single user can move by more than `max_norm` before the noise.

    Gradients are clipped per user by their norm over all weights (ghost clipping, arXiv 2110.05679:
    norms without gradients, so that memory is that of ordinary training), summed, and given
    Gaussian noise; an optimizer of any kind goes on from there.

    Args:
        network: its weights sit in linear layers.
        optimizer: of the network's weights.
        budget: the noise and the sampling rate that were accounted for.
        max_norm: where gradients are clipped.
        n_users: their number.
        seed: of the users in a step and of the noise, see `secret_seed`.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        budget: Budget,
        *,
        max_norm: float,
        n_users: int,
        seed: int,
    ) -> None:
        from opacus.grad_sample import GradSampleModuleFastGradientClipping
        from opacus.optimizers import DPOptimizerFastGradientClipping

        self._device = next(network.parameters()).device
        self._budget, self._n_users = budget, n_users
        self._sampling = np.random.default_rng(secret_seed(seed, "who takes part"))
        noise = torch.Generator(self._device).manual_seed(secret_seed(seed, "gradients"))
        self.randoms: dict[str, np.random.Generator | torch.Generator] = {
            "who": self._sampling,
            "gradients": noise,
        }
        self.module = GradSampleModuleFastGradientClipping(
            network, loss_reduction="sum", max_grad_norm=max_norm
        )
        self.optimizer = DPOptimizerFastGradientClipping(
            optimizer,
            noise_multiplier=budget.noise,
            max_grad_norm=max_norm,
            expected_batch_size=max(1, round(budget.sample_rate * n_users)),
            generator=noise,
            # four draws for one, against attacks on the last bits, arXiv 2112.05307
            secure_mode=True,
        )

    def users(self) -> Tensor:
        """Rows int64 (B,) of a step: each user takes part with the probability accounted for; B may
        be 0."""
        taken = self._sampling.random(self._n_users) < self._budget.sample_rate
        return torch.as_tensor(np.nonzero(taken)[0], device=self._device)

    def step(self, losses: Callable[[nn.Module], tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Take a step on `losses`, which gives each user's loss first; returns nothing, since
        losses are not private."""
        from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

        with warnings.catch_warnings():  # the first layer's input is data, which needs no gradient
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            DPTensorFastGradientClipping(
                self.module, self.optimizer, losses(self.module)[0], loss_reduction="sum"
            ).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {}


def train_privately(
    start: Callable[[float], TrainState],
    *,
    name: str,
    steps: int,
    log_every: int,
    data: TrainingData,
    fingerprint: str,
) -> TrainState:
    """As `augrec.generators._training.loop.train`, but every step spends budget, so that none is
    taken twice.

    A training that diverges is not repeated, and the curve holds statistics of synthetic users
    alone, which cost no privacy. They are compared with those of the untrained network, which draws
    by popularity, not with real users. It runs on one device in full precision. A
    checkpoint holds the state of the noise: it must be as secret as the seed.

    Raises:
        RefusedError: a weight is not a number any more, or synthetic users became copies of each
            other or of few items.
    """
    if data.hardware.devices > 1 or data.hardware.precision == "bf16":
        _logger.warning(
            "%s trains with privacy: on one device in full precision, whatever `hardware` says",
            name,
        )
    store = CheckpointStore(data.checkpoints, fingerprint)
    state, checkpoint = start(1.0), store.read()
    monitor = TrainingMonitor(state.statistics(), steps, "users drawn by popularity")
    rows = [] if checkpoint is None else list(checkpoint.rows)
    if checkpoint is not None:
        restore(state, checkpoint)
    for row in rows:
        data.log(row)
        monitor.check(row)
    for step in range(1 if checkpoint is None else checkpoint.step + 1, steps + 1):
        state.step()
        if step % log_every and step != steps:
            continue
        try:
            if not all(
                bool(p.isfinite().all())
                for module in state.modules.values()
                for p in module.parameters()
            ):
                raise TrainingDiverged("a weight is not a number")
            rows.append({"step": step, **state.statistics()})
            data.log(rows[-1])
            monitor.check(rows[-1])
        except TrainingDiverged as reason:
            raise RefusedError(
                f"the private training of {name} diverged at step {step}: {reason}",
                where=f"{name}, step {step} of {steps}",
                fix=f"lower generators.{name}.learning_rate; nothing was published",
            ) from reason
        store.write(take_checkpoint(state, step, rows, []), now=step == steps)
    return state
