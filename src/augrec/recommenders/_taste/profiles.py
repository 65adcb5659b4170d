"""A variational autoencoder of profiles given a taste group, and the generator of lists with its
critic."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class ProfileVae(nn.Module):
    """z ~ q(z | x, group), x ~ p(x | z, group): a conditional VAE (Sohn, Lee, Yan 2015) of
    multinomial profiles (Liang et al. 2018), with weights that all groups share."""

    def __init__(self, n_items: int, width: int, hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.read, self.write = nn.Linear(n_items, hidden), nn.Linear(hidden, n_items)
        self.encode, self.decode = nn.Linear(hidden, 2 * latent), nn.Linear(latent, hidden)
        self.told = nn.ModuleList([nn.Linear(width, hidden, bias=False) for _ in range(2)])
        for layer in (self.read, self.encode, self.decode, self.write, *self.told):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.read, self.encode, self.decode, self.write):
            nn.init.zeros_(layer.bias)

    def code(self, x: torch.Tensor, group: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance of z, (B, latent) each, for x, 0/1 (B, n_items), and the groups'
        vectors, (B, width)."""
        x = F.dropout(F.normalize(x, dim=1), self.dropout, self.training)
        mean, log_variance = self.encode(torch.tanh(self.read(x) + self.told[0](group))).chunk(2, 1)
        return mean, log_variance

    def logits(self, z: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
        """Of p(x | z, group), (B, n_items)."""
        return self.write(torch.tanh(self.decode(z) + self.told[1](group)))


class ListGenerator(nn.Module):
    """G(z, group, user): what to add to the logits of the profile model, (B, n_items)."""

    def __init__(self, n_items: int, width: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.read, self.write = nn.Linear(latent + 2 * width, hidden), nn.Linear(hidden, n_items)
        nn.init.xavier_uniform_(self.read.weight)
        nn.init.zeros_(self.read.bias)
        nn.init.zeros_(self.write.weight)  # it begins with what the profile model says
        nn.init.zeros_(self.write.bias)

    def forward(self, z: torch.Tensor, group: torch.Tensor, user: torch.Tensor) -> torch.Tensor:
        """z: (B, latent); group, user: (B, width)."""
        return self.write(torch.tanh(self.read(torch.cat([z, group, user], 1))))


class ListCritic(nn.Module):
    """A user's items, a list and a group's vector → one logit: above 0 where the list looks like
    one of a user of that group."""

    def __init__(self, n_items: int, width: int, hidden: int) -> None:
        super().__init__()
        self.known, self.shown = nn.Linear(n_items, hidden), nn.Linear(n_items, hidden, bias=False)
        self.group, self.out = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, 1)

    def forward(
        self, known: torch.Tensor, shown: torch.Tensor, group: torch.Tensor
    ) -> torch.Tensor:
        """(B, n_items) twice, (B, width). Gives (B,)."""
        read = self.known(known) + self.shown(shown) + self.group(group)
        return self.out(F.leaky_relu(read, 0.2))[:, 0]


def critic_loss(
    critic: ListCritic,
    known: torch.Tensor,
    real: torch.Tensor,
    fake: torch.Tensor,
    group: torch.Tensor,
    penalty: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The critic's relativistic pairing loss with R1 and R2 (Huang et al. 2025, arXiv 2501.05441),
    and its lead, the mean of sigmoid(D(real) - D(fake))."""
    real, fake = (shown.detach().requires_grad_() for shown in (real, fake))
    scores = [critic(known, shown, group) for shown in (real, fake)]
    slopes = torch.autograd.grad([one.sum() for one in scores], [real, fake], create_graph=True)
    steep = sum(slope.square().sum(1).mean() for slope in slopes)
    lead = scores[0] - scores[1]
    return F.softplus(-lead).mean() + penalty / 2 * steep, lead.sigmoid().mean().detach()
