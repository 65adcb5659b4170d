"""RecVAE and what it shares with MultVAE: the prior, the turns of encoder and decoder, truncated
histories."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from augrec.core.errors import RefusedError
from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData
from augrec.nn.profile_batches import ProfileBatch, ProfileBatches
from augrec.recommenders import recvae
from augrec.recommenders.base import Recommender, find

N_USERS, N_ITEMS = 120, 24
QUICK: dict[str, Any] = {
    "hidden": 24,
    "latent": 8,
    "steps": 80,
    "batch_size": 64,
    "eval_every": 40,
    "learning_rate": 0.01,
}


def rows() -> pl.DataFrame:
    """Half of the users like even items, half odd ones; what a user likes least comes first."""
    random = np.random.default_rng(0)
    likes = np.where(np.arange(N_ITEMS) % 2 == (np.arange(N_USERS) % 2)[:, None], 0.7, 0.08)
    users, items = np.nonzero(random.random((N_USERS, N_ITEMS)) < likes)
    return pl.DataFrame(
        {"user_id": [f"u{user:03}" for user in users], "item_id": [f"i{item:02}" for item in items]}
    )


def fit(name: str = "recvae", **config: Any) -> Recommender:
    return find(name)(QUICK | config, seed=3).fit(TrainingData(rows()))


def network(n_items: int = 6, dropout: float = 0.5) -> Any:
    torch.manual_seed(0)
    return recvae._Network(n_items, hidden=8, latent=3, layers=2, dropout=dropout)


def batches(
    steps: int, truncate: float, observed: pl.Expr | None = None
) -> tuple[list[ProfileBatch], Histories]:
    table = rows() if observed is None else rows().with_columns(observed=observed)
    known = Histories.from_interactions(table, ItemIndex(table["item_id"]))
    torch.manual_seed(0)
    return list(
        ProfileBatches(known, torch.device("cpu")).batches(len(known), steps, truncate)
    ), known


def share_of_odd(fitted: Recommender, history: list[str]) -> float:
    items, _ = fitted.recommend(pl.Series([history], dtype=pl.List(pl.String)), 8)
    return float(np.mean([int(item[1:]) % 2 for item in items[0]]))


@pytest.mark.parametrize("truncate", [0.0, 0.5])
def test_tastes_are_found_from_short_histories(truncate):
    fitted = fit(truncate=truncate)
    assert share_of_odd(fitted, ["i01", "i07"]) >= 0.85
    assert share_of_odd(fitted, ["i00", "i06"]) <= 0.15


def test_the_prior_is_the_mixture_of_the_paper():
    net = network()
    net.renew_prior()
    x, z = torch.rand(4, 6), torch.randn(4, 3) * 3
    mean, log_variance = net.encoder(x)
    means = torch.stack([torch.zeros(4, 3), mean, torch.zeros(4, 3)], dim=-1)
    deviations = torch.stack(
        [torch.ones(4, 3), (0.5 * log_variance).exp(), torch.full((4, 3), np.exp(5.0))], dim=-1
    )
    mixture = MixtureSameFamily(
        Categorical(torch.tensor([0.15, 0.75, 0.10])), Normal(means, deviations)
    )
    torch.testing.assert_close(net._log_prior(x, z), mixture.log_prob(z), rtol=1e-4, atol=1e-4)


def test_the_prior_stays_while_the_encoder_learns_and_is_no_part_of_what_is_kept():
    net = network()
    names = set(net.state_dict())
    net.renew_prior()
    x, z = torch.rand(2, 6), torch.zeros(2, 3)
    before = net._log_prior(x, z)
    with torch.no_grad():
        for weights in net.encoder.parameters():
            weights += 1
    assert (net._log_prior(x, z) == before).all()
    net.renew_prior()
    assert (net._log_prior(x, z) != before).any()
    assert set(net.state_dict()) == names


def test_encoder_and_decoder_learn_in_turn():
    fitted: Any = find("recvae")(QUICK | {"encoder_steps": 2, "decoder_steps": 1}, seed=3)
    fitted.items = ItemIndex(rows()["item_id"])
    fitted._network = fitted._build()
    some, _ = batches(7, 0.5)
    moved = []
    before = [
        tensor.clone()
        for tensor in (fitted._network.encoder.code.weight, fitted._network.write.weight)
    ]
    for _ in fitted._descend_on(iter(some)):
        now = [
            tensor.clone()
            for tensor in (fitted._network.encoder.code.weight, fitted._network.write.weight)
        ]
        moved.append([bool((old != new).any()) for old, new in zip(before, now, strict=True)])
        before = now
    encoder, decoder = [True, False], [False, True]
    assert moved == [encoder, encoder, decoder, encoder, encoder, decoder, encoder]


def test_the_decoder_sees_whole_histories_without_dropout():
    net = network(dropout=0.9).train()
    net.renew_prior()
    read: list[torch.Tensor] = []
    net.encoder.register_forward_pre_hook(lambda module, given: read.append(given[0]))
    x = torch.ones(5, 6)
    net(x, noisy=False)
    assert (read[0] > 0).all()
    net(x, noisy=True)
    assert (read[1] == 0).any()


def test_a_user_of_many_items_has_a_larger_kl_term():
    fitted: Any = find("recvae")(QUICK | {"gamma": 0.5}, seed=3)
    net = network().eval()
    net.forward = lambda x, noisy: (
        torch.zeros(len(x), 6),
        torch.ones(len(x)),
    )  # a KL of 1 for every user
    totals = []
    for n in (1, 4):
        w = (torch.arange(6) < n).float()[None]
        batch = ProfileBatch(w, w, w, torch.ones(1))
        loss = fitted._loss(net, batch, decoding=False).loss
        totals.append(float(loss) - n * np.log(6))  # the multinomial term of even logits
    assert totals == pytest.approx([0.5, 2.0], rel=1e-4)


def test_a_truncated_history_is_its_first_one_to_five_items_and_the_target_stays_whole():
    [batch], known = batches(1, truncate=1.0)
    lengths = batch.x.sum(1).int()
    assert sorted(set(lengths.tolist())) == [1, 2, 3, 4, 5]
    full = {tuple(row) for row in known.matrix().toarray().tolist()}
    for x, whole, target in zip(batch.x, batch.whole, batch.w, strict=True):
        assert tuple(target.tolist()) in full
        assert (whole == target).all()
        read, all_items = np.flatnonzero(x), np.flatnonzero(target)
        assert (
            read.tolist() == all_items[: len(read)].tolist()
        )  # in these rows the order of the ids is that of time


def test_histories_are_truncated_as_often_as_asked_for():
    [whole], _ = batches(1, truncate=0.0)
    assert (whole.x == whole.w).all()
    some, _ = batches(20, truncate=0.3)
    cut = torch.cat([(batch.x != batch.w).any(1).float() for batch in some])
    assert 0.25 < cut.mean() < 0.35


def test_targets_only_are_never_read():
    hidden = pl.int_range(pl.len()) % 2 == 0
    some, known = batches(3, truncate=0.5, observed=~hidden)
    for batch in some:
        assert (batch.x <= batch.whole).all()
        assert (batch.whole.sum() == known.observed.sum()) & (batch.w.sum() == len(known.items))


@pytest.mark.parametrize("name", ["multvae", "recvae"])
def test_truncation_changes_what_is_learnt(name):
    plain, cut = (fit(name, truncate=truncate) for truncate in (0.0, 1.0))
    history = pl.Series([["i01"]])
    assert not np.allclose(plain.recommend(history, 9)[1], cut.recommend(history, 9)[1])


@pytest.mark.parametrize("name", ["multvae", "recvae"])
def test_training_that_diverges_is_refused_with_the_knob_to_turn(name):
    with pytest.raises(RefusedError, match=rf"recommenders\.{name}\.learning_rate"):
        fit(name, learning_rate=1e30, steps=20, eval_every=10)


@pytest.mark.parametrize("name", ["multvae", "recvae"])
def test_training_that_continues_begins_with_the_weights_of_the_start(name):
    start, curve = fit(name), []
    again = find(name)(QUICK | {"steps": 1}, seed=9)
    again.fit(TrainingData(rows(), previous=start, log=lambda row: curve.append(row["step"])))
    assert curve == [0, 1]
    assert share_of_odd(again, ["i01", "i07"]) >= 0.85
