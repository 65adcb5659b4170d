"""Training against a membership attack: what the attack gains, who is held out, what is disclosed
less."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_recommender_attack import CONFIG, MEMBERS, OTHERS

from augrec.audit.recommender_attack import attack_recommender
from augrec.data.training_data import TrainingData
from augrec.nn.membership import MembershipAdversary, MembershipConfig, held_out
from augrec.recommenders.base import find

N, ITEMS = 64, 30


def gain(knows_members: bool) -> float:
    """What the attack gains in units of the loss, after it has learnt for some steps of the
    network."""
    torch.manual_seed(0)
    adversary = MembershipAdversary(MembershipConfig(membership_weight=1.0), torch.device("cpu"))
    for _ in range(60):
        members, others = ((torch.rand(N, ITEMS) < 0.3).float() for _ in range(2))
        remembered = members if knows_members else torch.zeros(N, ITEMS)

        def predict(read: torch.Tensor, remembered: torch.Tensor = remembered) -> torch.Tensor:
            logits = torch.zeros(len(read), ITEMS)
            for first in (0, 2 * N):  # members whole, then by half
                logits[first : first + N] = 3 * remembered
            return logits.requires_grad_()

        loss = adversary.penalised(torch.tensor(2.0), predict, members, others)
    return (loss.item() - 2) / 2


def test_the_attack_gains_where_predictions_differ_and_nothing_where_they_do_not():
    assert gain(knows_members=True) > 0.5
    assert abs(gain(knows_members=False)) < 0.1


def test_some_users_are_held_out_and_nobody_is_on_both_sides():
    members, others = held_out(50, 0.2, seed=1)
    assert len(others) == 10 and np.array_equal(np.sort([*members, *others]), np.arange(50))
    assert not np.array_equal(others, held_out(50, 0.2, seed=2)[1])
    for n, share in ((2, 0.01), (2, 0.99)):
        assert [len(side) for side in held_out(n, share, seed=1)] == [1, 1]


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("multvae", {"dropout": 0.0, "truncate": 0.0, "beta": 0.0}),
        ("mmoe", {"dropout": 0.0, "truncate": 0.0, "learning_rate": 0.005}),
    ],
)
def test_a_model_discloses_less_than_with_the_same_users_held_out_alone(name, config):
    areas = []
    for weight in (1e-9, 1.0):
        model = find(name)(config | {"steps": 200, "membership_weight": weight}, seed=1)
        model.fit(TrainingData(MEMBERS))
        found = attack_recommender(model, MEMBERS, OTHERS, CONFIG, 0)
        assert found is not None
        areas.append(found.auc)
    assert areas[1] < areas[0] - 0.05
