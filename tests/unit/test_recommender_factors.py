"""iALS and BPR: the loss that is minimised, the pairs that are drawn, the adversary."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from augrec.core.errors import RefusedError
from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData
from augrec.nn.negatives import Negatives
from augrec.nn.pairs import PairBatch, Pairs
from augrec.nn.perturbations import Adversary, PerturbationConfig
from augrec.recommenders import ials
from augrec.recommenders.base import Recommender, find

N_USERS, N_ITEMS = 40, 15
BPR = {"factors": 8, "steps": 40, "batch_size": 32, "positives": 4}


def rows(**columns: pl.Expr) -> pl.DataFrame:
    users, items = np.nonzero(np.random.default_rng(0).random((N_USERS, N_ITEMS)) < 0.35)
    table = pl.DataFrame(
        {"user_id": [f"u{user:02}" for user in users], "item_id": [f"i{item:02}" for item in items]}
    )
    return table.with_columns(**columns)


def histories(*lists: list[str]) -> pl.Series:
    return pl.Series(list(lists), dtype=pl.List(pl.String))


def scores(fitted: Recommender, history: list[str]) -> np.ndarray:
    """In the order of the items."""
    ranked, values = fitted.rank(histories(history), len(fitted.items), exclude_seen=False)
    return values[0, np.argsort(ranked[0])]


def test_a_user_of_ials_is_the_least_squares_solution_for_the_history():
    config = {
        "factors": 5,
        "unobserved_weight": 0.2,
        "regularisation": 0.05,
        "popularity_blend": 0.0,
    }
    fitted = find("ials")(config).fit(TrainingData(rows()))
    y = fitted._model_state()["vectors"].astype(float)
    met = y[[2, 7, 9]]
    penalty = 0.05 * (3 + 0.2 * N_ITEMS)
    user = np.linalg.solve(met.T @ met + 0.2 * y.T @ y + penalty * np.eye(5), met.sum(0))
    np.testing.assert_allclose(
        scores(fitted, ["i02", "i07", "i09"]), y @ user, rtol=1e-3, atol=1e-5
    )


def test_ials_settles():
    curve: list[dict[str, float]] = []
    find("ials")({"factors": 4, "epochs": 60}).fit(
        TrainingData(rows(), log=lambda row: curve.append(dict(row)))
    )
    assert [row["step"] for row in curve] == list(range(1, 61))
    assert curve[-1]["change"] < 0.01 < curve[0]["change"]


def test_ials_keeps_vectors_where_its_penalty_would_leave_nothing_of_them():
    draw = np.random.default_rng(1)
    sparse = pl.DataFrame(
        {"user": draw.integers(0, 3000, 9000), "item": draw.integers(0, 20_000, 9000)}
    ).select(user_id=pl.format("u{}", "user"), item_id=pl.format("i{}", "item"))
    fitted = find("ials")({"factors": 8, "regularisation": 0.1}).fit(TrainingData(sparse))
    assert np.abs(fitted._model_state()["vectors"]).max() > 0.01
    assert fitted.choices()["regularisation"] < fitted.config.regularisation
    sound = {"factors": 8, "regularisation": 0.01}
    assert find("ials")(sound).fit(TrainingData(rows())).choices() == {"regularisation": 0.01}


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_ials_knows_the_penalty_that_leaves_nothing_of_its_vectors(monkeypatch, exponent):
    monkeypatch.setattr(ials, "_MOST", 1e9)
    config = {"factors": 4, "epochs": 200, "frequency_exponent": exponent}
    known = Histories.from_interactions(rows(), ItemIndex(rows()["item_id"]))
    met = known.matrix()
    limit = find("ials")(config)._vanishing(met, met.T.tocsr(), len(known))
    less, more = (
        find("ials")(config | {"regularisation": limit * share})
        .fit(TrainingData(rows()))
        ._model_state()["vectors"]
        for share in (0.9, 1.1)
    )
    assert np.abs(less).max() > 0.01 and np.abs(more).max() < 1e-6


def test_ials_solved_in_small_batches_is_the_same(monkeypatch):
    whole = find("ials")({"factors": 4}).fit(TrainingData(rows()))._model_state()["vectors"]
    monkeypatch.setattr(ials, "_CELLS", 50)
    small = find("ials")({"factors": 4}).fit(TrainingData(rows()))._model_state()["vectors"]
    np.testing.assert_allclose(whole, small, rtol=1e-3, atol=1e-5)


def draw(table: pl.DataFrame, n_users: int = 200) -> tuple[PairBatch, Pairs, Histories]:
    known = Histories.from_interactions(table, ItemIndex(table["item_id"]))
    torch.manual_seed(0)
    pairs = Pairs(known, torch.device("cpu"))
    return pairs.draw(n_users, 4), pairs, known


def test_positives_are_in_the_history_and_unmet_items_are_not():
    batch, pairs, known = draw(rows())
    asked = torch.arange(N_ITEMS).expand(200, 3, N_ITEMS)
    unmet = pairs.unmet(batch.users, asked)
    met = known.matrix().toarray() > 0
    starts = [*batch.history.starts.tolist(), len(batch.history.items)]
    for user in range(200):
        items = batch.history.items[starts[user] : starts[user + 1]]
        assert set(batch.positives[user].tolist()) <= set(items.tolist())
        assert set(items.tolist()) == set(np.flatnonzero(met[batch.users[user]]))
        assert (unmet[user].numpy() == ~met[batch.users[user]]).all()


def test_a_target_that_is_not_observed_is_drawn_but_is_no_part_of_the_history():
    batch, _, _ = draw(rows(observed=pl.col("item_id") != "i04"))
    assert 4 in batch.positives
    assert 4 not in batch.history.items
    assert (batch.met == (batch.positives != 4)).all()


def test_an_interaction_of_twice_the_weight_is_drawn_twice_as_often():
    heavy = pl.when(pl.col("item_id") == "i03").then(2.0).otherwise(1.0).cast(pl.Float32)
    plain, _, known = draw(rows(), 20_000)
    weighted, _, _ = draw(rows(weight=heavy), 20_000)
    share = (known.items == 3).mean()
    assert (plain.positives == 3).double().mean().item() == pytest.approx(share, rel=0.05)
    assert (weighted.positives == 3).double().mean().item() == pytest.approx(
        2 * share / (1 + share), rel=0.05
    )


def bpr(**config: float) -> Recommender:
    return find("bpr")(BPR | config, seed=1).fit(TrainingData(rows()))


def test_a_model_trained_against_the_adversary_withstands_it_better():
    """Its loss rises less when its vectors are moved the same length along their gradients."""

    def rise(fitted: Recommender) -> float:
        known = Histories.from_interactions(rows(), fitted.items)
        torch.manual_seed(5)
        drawing = (
            Pairs(known, torch.device("cpu")),
            Negatives(np.ones(N_ITEMS), torch.device("cpu")),
        )
        forward, _ = fitted._batch(*drawing, None)
        adversary = Adversary(
            PerturbationConfig(adversarial_epsilon=0.3, adversarial_from=0.0),
            fitted._network.lookup,
            steps=1,
            seed=0,
            where=torch.device("cpu"),
            softmax=False,
        )
        mixed, clean = adversary.loss(forward)
        return mixed.item() - clean.item()

    longer = {"steps": 200, "weight_decay": 0.1}
    assert 0 < rise(bpr(adversarial_epsilon=0.3, **longer)) < rise(bpr(**longer))


def test_bpr_that_diverges_is_refused():
    with pytest.raises(RefusedError, match="training diverged"):
        bpr(learning_rate=1e30)
