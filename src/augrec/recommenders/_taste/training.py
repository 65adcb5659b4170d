"""What group_gan descends on."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from augrec.nn.perturbations import ForwardPass
from augrec.nn.profile_batches import ProfileBatch
from augrec.nn.sequences import WindowBatch
from augrec.recommenders._taste.config import GroupGanConfig
from augrec.recommenders._taste.network import GroupGanNetwork
from augrec.recommenders._taste.profiles import ListCritic, critic_loss


class TrainingPass:
    """A pass over a batch, for all networks but the critic, which it asks."""

    def __init__(
        self,
        network: GroupGanNetwork,
        critic: ListCritic,
        config: GroupGanConfig,
        batch: ProfileBatch,
        window: WindowBatch,
        step: int,
    ) -> None:
        self._network, self._critic, self._config = network, critic, config
        self._batch, self._window, self._step = batch, window, step
        self._judged: tuple[torch.Tensor, ...] = ()

    def __call__(self) -> ForwardPass:
        """The means of the losses, in the order of `GroupGan._losses`, without the critic's."""
        network, config, batch = self._network, self._config, self._batch
        items = network.lookup("items", network.features.items())
        users = network.features.users(batch.x, items)
        group = network.group_vectors(users, batch.x)
        logits = network.features.logits(users, items)
        features = _unlikely(logits, batch.w).mean()
        total, (profiles, kl, lists, next_item) = features, batch.x.new_zeros(4)
        z = torch.randn(len(batch.x), config.latent, device=batch.x.device)
        if network.vae is not None:
            mean, log_variance = network.vae.code(batch.x, group)
            z = mean + z * torch.exp(0.5 * log_variance)
            kls = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(1)
            profiles = _unlikely(network.vae.logits(z, group), batch.w).mean()
            beta = config.beta * min(1.0, self._step / (0.5 * int(config.steps)))
            total, kl = total + profiles + beta * (batch.weights * kls).mean(), kls.mean()
        if network.lists is not None:
            found = network.lists_of(z.detach(), group, users)
            assert found is not None
            lists = _unlikely(found, batch.w).mean()
            total = total + lists + config.gan_weight * self._fooling(found, group)
        if network.live is not None:
            window = self._window
            states = network.live(window.windows, items)[window.states]
            unlikely = F.cross_entropy(
                network.features.logits(states, items), window.targets, reduction="none"
            )
            next_item = (unlikely * window.weights).sum() / len(window.windows.lengths)
            total = total + next_item
        logged = torch.stack([total, features, profiles, kl, lists, next_item])
        return ForwardPass(total, logits, logged)

    def _fooling(self, logits: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
        """The generator's loss against the critic, for each item of the profile."""
        batch = self._batch
        length = batch.whole.sum(1, keepdim=True)
        masked = torch.rand_like(logits) < self._config.partial_masking
        shown = torch.maximum(batch.whole, masked.float())
        fake = (length * F.softmax(logits, 1)).clamp(max=1) * shown
        if not self._judged:  # of the pass without an adversary
            self._judged = fake.detach(), group.detach()
        lead = self._critic(batch.x, batch.whole, group) - self._critic(batch.x, fake, group)
        return (batch.weights * length[:, 0] * F.softplus(lead)).mean()

    def critic_loss(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The critic's loss on the lists of the first pass, and its lead."""
        batch, (fake, group) = self._batch, self._judged
        return critic_loss(self._critic, batch.x, batch.whole, fake, group, self._config.penalty)


def _unlikely(logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Minus the weighted log-likelihood of each user's items, (B,)."""
    return -(F.log_softmax(logits, 1) * weights).sum(1)
