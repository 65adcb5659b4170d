"""Adversarial training: how far vectors are moved, where to, and what is drawn."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from augrec.nn.perturbations import Adversary, ForwardPass, Lookups, PerturbationConfig

EPSILON, N, WIDTH, CLASSES = 0.2, 64, 6, 4
METHODS = ("fast", "projected", "virtual", "random")


class Task:
    """A classifier of vectors that are looked up, of very different lengths, one of them 0."""

    def __init__(self, labels_seed: int = 1) -> None:
        draw = torch.Generator().manual_seed(0)
        self.lookup, self.passes = Lookups(), []
        scales = torch.logspace(-2, 1, N)[:, None]
        self.vectors = torch.randn(N, WIDTH, generator=draw) * scales
        self.vectors[0] = 0
        self.vectors.requires_grad_()
        self.inside = torch.randn(WIDTH, 16, generator=draw)
        self.out = torch.randn(16, CLASSES, generator=draw)
        labels = torch.Generator().manual_seed(labels_seed)
        self.labels = torch.randint(CLASSES, (N,), generator=labels)

    def forward(self) -> ForwardPass:
        vectors = self.lookup("vectors", self.vectors)
        self.passes.append(vectors.detach())
        hidden = F.dropout(torch.tanh(vectors @ self.inside), 0.3)
        logits = hidden @ self.out
        loss = F.cross_entropy(logits, self.labels)
        return ForwardPass(loss, logits, loss)

    def adversary(self, method: str, **keys: float) -> Adversary:
        config = PerturbationConfig(
            adversarial_method=method,
            **{"adversarial_epsilon": EPSILON, "adversarial_from": 0.0} | keys,
        )
        return Adversary(config, self.lookup, 10, 3, torch.device("cpu"), softmax=True)


def rise(method: str, epsilon: float = EPSILON) -> float:
    """How much the loss under the adversary lies above the clean one; λ 1."""
    task = Task()
    torch.manual_seed(5)
    mixed, clean = task.adversary(method, adversarial_epsilon=epsilon).loss(task.forward)
    return 2 * (mixed.item() - clean.item())


@pytest.mark.parametrize("method", METHODS)
def test_each_vector_is_moved_by_a_share_of_its_own_length(method):
    task = Task()
    task.adversary(method).loss(task.forward)
    lengths = task.vectors.detach().norm(dim=1)
    moved = (task.passes[-1] - task.passes[0]).norm(dim=1)
    if method == "projected":
        assert (moved <= EPSILON * lengths * 1.001).all()
        assert moved.sum() > 0.8 * EPSILON * lengths.sum()
    else:
        torch.testing.assert_close(moved, EPSILON * lengths, rtol=1e-3, atol=1e-5)


def test_the_adversary_hurts_more_than_a_random_move_and_projected_steps_at_least_as_much():
    assert rise("fast") > 3 * abs(rise("random"))
    assert rise("projected", 0.8) > rise("fast", 0.8) > 0


def test_the_virtual_adversary_looks_at_no_label():
    moves = []
    for labels in (1, 2):
        task = Task(labels)
        torch.manual_seed(5)
        task.adversary("virtual").loss(task.forward)
        moves.append(task.passes[-1])
    assert torch.equal(*moves)


def test_what_changes_predictions_most_changes_them_more_than_a_random_move():
    task = Task()
    torch.manual_seed(5)
    virtual, clean = task.adversary("virtual").loss(task.forward)
    loss = (virtual - clean).item()
    torch.manual_seed(5)
    logits = task.forward().logits.log_softmax(-1)
    around = task.vectors.detach()
    way = torch.randn(around.shape, generator=torch.Generator().manual_seed(8))
    task.vectors = around + EPSILON * around.norm(dim=1, keepdim=True) * F.normalize(way, dim=1)
    torch.manual_seed(5)
    other = task.forward().logits.log_softmax(-1)
    assert loss > (logits.exp() * (logits - other)).sum(-1).mean().item() > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_step_draws_what_it_would_draw_without_an_adversary(method):
    states = []
    for epsilon in (0.0, EPSILON):
        task = Task()
        torch.manual_seed(5)
        task.adversary(method, adversarial_epsilon=epsilon).loss(task.forward)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_the_adversary_comes_in_after_its_share_of_the_steps():
    task = Task()
    adversary = task.adversary("fast", adversarial_from=0.5)
    passes = []
    for _ in range(10):
        before = len(task.passes)
        adversary.loss(task.forward)
        passes.append(len(task.passes) - before)
    assert passes == [1] * 5 + [2] * 5
