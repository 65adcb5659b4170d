"""Differential privacy: what is promised is accounted for, and what is stored knows no single
user."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from opacus.accountants import RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from torch.nn import functional

from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.data.columns import INTERACTIONS
from augrec.data.training_data import Hardware, TrainingData
from augrec.generators import base
from augrec.generators._privacy.budget import SECRET, Budget, PrivacyConfig, secret_seed
from augrec.generators._privacy.counts import _WEIGHTS, Users, noisy_sums, norm_sub
from augrec.generators._privacy.steps import PrivateDescent, train_privately
from augrec.generators._profile.vae import ProfileAutoencoder
from augrec.generators._training.train_state import TrainState

START = datetime(2024, 1, 1, tzinfo=UTC)
N_ITEMS = 40
ITEMS = pl.DataFrame({"item_id": [f"i{item:02}" for item in range(N_ITEMS)]})
QUICK = {
    "steps": 6,
    "batch_size": 32,
    "hidden": 8,
    "latent": 2,
    "log_every": 3,
    "learning_rate": 0.01,
}
DECLARED = {
    "epsilon": 4.0,
    "events": {"view": [], "rating": [1, 3, 5]},
    "attributes": {"taste": ["low", "high"]},
}


def shop(n_users: int, n_rows: int = 8, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Half the people want the first half of the catalogue, half the second; their attribute
    tells."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "user_id": f"u{user:04}",
            "item_id": f"i{item + user % 2 * 20:02}",
            "event": "rating",
            "value": 3.0,
            "timestamp": START + timedelta(hours=int(rng.integers(0, 2000))),
        }
        for user in range(n_users)
        for item in rng.choice(20, n_rows, replace=False)
    ]
    users = pl.DataFrame(
        {
            "user_id": [f"u{user:04}" for user in range(n_users)],
            "taste": ["high" if user % 2 else "low" for user in range(n_users)],
        }
    )
    return canonical(pl.DataFrame(rows)), users


def canonical(rows: pl.DataFrame) -> pl.DataFrame:
    table = rows.with_columns(origin=pl.lit("real"), weight=pl.lit(1.0))
    return table.select(list(INTERACTIONS)).cast(dict(INTERACTIONS)).sort("user_id", "timestamp")


def collector() -> tuple[pl.DataFrame, pl.DataFrame]:
    """One person who has the whole catalogue, an odd event, an odd attribute, and comes hours after
    the others."""
    rows = pl.DataFrame(
        {
            "user_id": ["z"] * N_ITEMS,
            "item_id": ITEMS["item_id"],
            "event": ["theft"] * 20 + ["rating"] * 20,
            "value": [1e6] * N_ITEMS,
            "timestamp": [
                START + timedelta(hours=2000, minutes=minute) for minute in range(N_ITEMS)
            ],
        }
    )
    return canonical(rows), pl.DataFrame({"user_id": ["z"], "taste": ["unheard of"]})


def fitted(table, users, config=None, seed=3, privacy=None, **options):
    whole = {**QUICK, "privacy": {**DECLARED, **(privacy or {})}, **(config or {})}
    return base.find("profile_vae")(whole, seed=seed).fit(
        TrainingData(table, users=users, items=ITEMS, **options)
    )


def training_data(table, users) -> TrainingData:
    return TrainingData(table, users=users, items=ITEMS)


@pytest.mark.parametrize(("epsilon", "n_users", "steps"), [(1.0, 500, 50), (8.0, 2000, 200)])
def test_epsilon_is_what_opacus_accounts_for_step_by_step(epsilon, n_users, steps):
    budget = Budget.plan(PrivacyConfig(epsilon=epsilon), n_users, 64, steps)
    accountant = RDPAccountant()
    accountant.step(noise_multiplier=budget.statistics_noise, sample_rate=1.0)
    for _ in range(steps):
        accountant.step(noise_multiplier=budget.noise, sample_rate=64 / n_users)
    assert budget.epsilon() == pytest.approx(accountant.get_epsilon(delta=n_users**-1.1))
    assert 0.98 * epsilon < budget.epsilon() <= epsilon
    accountant.history = [(budget.statistics_noise, 1.0, 1)]
    assert budget.epsilon(0) == pytest.approx(accountant.get_epsilon(delta=n_users**-1.1))
    assert budget.epsilon(0) <= epsilon / 2 + 1e-9, "half of the budget is the counts'"


@pytest.mark.filterwarnings("ignore:Optimal order is:UserWarning:opacus")
def test_without_counts_to_pay_for_the_noise_is_opacus_own():
    budget = Budget.plan(PrivacyConfig(epsilon=3.0, delta=1e-4, statistics=0.05), 1000, 100, 100)
    known = get_noise_multiplier(target_epsilon=3.0, target_delta=1e-4, sample_rate=0.1, steps=100)
    assert known <= budget.noise * 1.005
    assert budget.noise == pytest.approx(known, rel=0.02)


def test_a_smaller_epsilon_more_steps_or_larger_batches_take_more_noise():
    def noise(epsilon: float = 4.0, batch_size: int = 64, steps: int = 100) -> float:
        return Budget.plan(PrivacyConfig(epsilon=epsilon), 1000, batch_size, steps).noise

    assert noise(epsilon=1.0) > noise(epsilon=2.0) > noise() > noise(epsilon=8.0)
    assert noise(steps=400) > noise() < noise(batch_size=256)
    counts = [
        Budget.plan(PrivacyConfig(epsilon=e), 1000, 64, 100).statistics_noise
        for e in (1.0, 2.0, 4.0)
    ]
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize(
    ("privacy", "word"),
    [
        ({"epsilon": 0.01, "delta": 1e-9}, "no amount of noise"),
        ({"delta": 0.5}, "guarantees nothing"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(privacy, word):
    with pytest.raises(ConfigError, match=word):
        fitted(*shop(60), privacy=privacy)


def test_a_single_user_cannot_be_hidden():
    with pytest.raises(ConfigError, match="1 users"):
        fitted(*shop(1))


def descent(
    network, n_users: int, *, noise: float = 0.0, rate: float = 1.0, max_norm: float = 1.0
) -> PrivateDescent:
    """Steps of size 1, so that weights move by the mean gradient."""
    optimizer = torch.optim.SGD(network.parameters(), 1.0)
    budget = Budget(1e-3, 1.0, noise, rate, 1, False)
    return PrivateDescent(network, optimizer, budget, max_norm=max_norm, n_users=n_users, seed=0)


def users_losses(profiles):
    """The loss of each of the rows of `profiles`, without chance."""

    def losses(model):
        condition, noise = torch.zeros(len(profiles), 1), torch.zeros(len(profiles), 2)
        misfit, kl = model(profiles, profiles, condition, noise)
        return misfit + kl, kl

    return losses


def network() -> ProfileAutoencoder:
    torch.manual_seed(0)
    return ProfileAutoencoder(N_ITEMS, 1, 8, 2)


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def gradient(profile) -> torch.Tensor:
    """Of one user, by ordinary means."""
    model = network()
    users_losses(profile[None])(model)[0].sum().backward()
    return torch.cat([p.grad.reshape(-1) for p in model.parameters()])


PROFILES = torch.stack(
    [(torch.arange(N_ITEMS) < 20).float(), *functional.one_hot(torch.arange(3), N_ITEMS).float()]
)
"""One user who has half of the catalogue, and three with a single item each."""


def test_a_user_with_a_huge_profile_moves_the_weights_no_further_than_anybody():
    assert gradient(PROFILES[0]).norm() > 2, "unclipped the collector would move them far"
    for profile in PROFILES:
        model = network()
        before = weights(model)
        descent(model, 1, max_norm=0.5).step(users_losses(profile[None]))
        assert (weights(model) - before).norm() <= 0.5 + 1e-5


def test_a_step_is_the_mean_of_gradients_clipped_user_by_user():
    model = network()
    before = weights(model)
    descent(model, len(PROFILES), max_norm=2.0).step(users_losses(PROFILES))
    clipped = [g * min(1.0, 2.0 / float(g.norm())) for g in map(gradient, PROFILES)]
    expected = -torch.stack(clipped).sum(dim=0) / len(PROFILES)
    torch.testing.assert_close(weights(model) - before, expected, atol=1e-5, rtol=1e-4)


def test_gradients_get_as_much_noise_as_was_accounted_for():
    model = network()
    before = weights(model)
    steps = descent(model, 1000, noise=3.0, rate=0.5, max_norm=0.5)
    steps.step(users_losses(torch.zeros(0, N_ITEMS)))
    moved = (weights(model) - before) * 500  # the expected size of a batch
    assert float(moved.std()) == pytest.approx(3.0 * 0.5, rel=0.1), (
        "a step without anybody is noise alone"
    )


def test_users_take_part_each_with_the_accounted_probability():
    steps = descent(network(), 400, rate=0.1)
    rounds = [steps.users() for _ in range(200)]
    sizes = np.array([len(users) for users in rounds])
    assert sizes.mean() == pytest.approx(40, rel=0.1) and sizes.std() > 3, (
        "Poisson sampling, no fixed batches"
    )
    assert np.bincount(torch.cat(rounds), minlength=400).min() > 0


def removed_changes(table, users, gone: str) -> float:
    """How far (L2, in units of the noise) the counts move when one user is taken out, without
    noise."""
    random = np.random.default_rng(0)
    config = PrivacyConfig(**DECLARED)
    with_all, without = (
        noisy_sums(Users.of(training_data(part, users), config).tables(), 0.0, random)
        for part in (table, table.filter(pl.col("user_id") != gone))
    )
    return (
        sum(
            _WEIGHTS[name] * float(((with_all[name] - without[name]) ** 2).sum())
            for name in with_all
        )
        ** 0.5
    )


def test_no_single_user_moves_the_counts_by_more_than_one():
    table, users = shop(30)
    huge, odd = collector()
    table, users = pl.concat([table, huge]).sort("user_id", "timestamp"), pl.concat([users, odd])
    times = table.filter(pl.col("user_id") != "z")["timestamp"]
    table = table.with_columns(
        pl.col("timestamp").clip(times.min(), times.max())
    )  # the window is public
    changes = [removed_changes(table, users, user) for user in ("z", "u0000", "u0007")]
    assert min(changes) > 0.3 and max(changes) <= 1 + 1e-9
    assert sum(_WEIGHTS.values()) == pytest.approx(1.0)


def test_rows_that_are_too_long_are_clipped_and_noise_has_the_set_size():
    tables = {"items": np.full((1, 4), 5.0)}
    import scipy.sparse as sp

    exact = noisy_sums(
        {name: sp.csr_matrix(table) for name, table in tables.items()},
        0.0,
        np.random.default_rng(0),
    )
    assert np.linalg.norm(exact["items"]) == pytest.approx(1.0)
    empty = sp.csr_matrix((1, 20_000))
    noisy = noisy_sums({"items": empty}, 3.0, np.random.default_rng(0))["items"]
    assert noisy.std() == pytest.approx(3.0 / np.sqrt(_WEIGHTS["items"]), rel=0.05)


def test_noise_in_empty_cells_is_taken_out_again():
    counts = np.array([50.0, 30.0, 20.0, *[0.0] * 97])
    cleaned = norm_sub(counts + np.random.default_rng(0).normal(0, 2, 100), 100)
    assert cleaned.min() == 0 and cleaned.sum() <= 100 + 1e-9
    assert np.abs(cleaned[:3] - counts[:3]).max() < 10 and cleaned[3:].sum() < 20
    np.testing.assert_allclose(norm_sub(counts, 100), counts)


def names(generator) -> dict[str, list]:
    """All text that is stored, and the shapes of the rest."""
    state = generator._state()
    return {
        key: a.tolist() if a.dtype.kind in "UO" else [*a.shape, str(a.dtype)]
        for key, a in state.items()
    }


def test_what_one_user_alone_has_is_stored_no_differently_without_that_user():
    table, users = shop(60)
    table = table.filter(pl.col("item_id") != "i05")  # which the collector alone has
    huge, odd = collector()
    with_collector = fitted(pl.concat([table, huge]), pl.concat([users, odd]))
    without = fitted(table, users)
    shapes = [
        {**names(one), "condition_lengths": 0, "condition_codes": 0}
        for one in (with_collector, without)
    ]
    assert shapes[0] == shapes[1], "items, labels and events are the declared ones"
    assert shapes[0]["items"] == ITEMS["item_id"].to_list()
    assert shapes[0]["condition_values"] == ["low", "high", "unknown"]
    assert set(shapes[0]["detail_pair_events"]) == {"view", "rating"}


def test_conditions_are_not_those_of_real_users():
    private = fitted(*shop(60, n_rows=7), privacy={"epsilon": 0.5})
    assert len(np.unique(private.conditions.lengths)) > 3, (
        "real lengths are all 7; with this much noise others are drawn"
    )


def test_a_private_sample_holds_declared_items_events_and_values_in_the_public_time():
    table, users = shop(60)
    sample = fitted(table, users).sample(80)
    assert set(sample["item_id"]) <= set(ITEMS["item_id"])
    assert set(sample["event"]) <= {"view", "rating"}
    assert set(sample.filter(pl.col("event") == "rating")["value"]) <= {1.0, 3.0, 5.0}
    assert sample.filter(pl.col("event") == "view")["value"].is_null().all()
    assert table["timestamp"].min().date() <= sample["timestamp"].min().date()
    assert sample["timestamp"].max() <= table["timestamp"].max()


def test_a_private_generator_still_learns_who_wants_what():
    table, users = shop(3000)
    config = {"steps": 60, "batch_size": 600, "hidden": 16, "learning_rate": 0.02, "log_every": 60}
    generator = fitted(table, users, config, privacy={"epsilon": 8.0})
    for taste, wanted in (("high", 1.0), ("low", 0.0)):
        sample = generator.sample(100, condition={"taste": taste})
        upper = sample["item_id"].str.slice(1).cast(pl.Int32) >= 20
        assert abs(upper.mean() - wanted) < 0.2, (
            "half of the items would be of either kind by popularity alone"
        )
    assert sample["value"].mean() == pytest.approx(3.0, abs=0.2), "every user rates 3"


def test_the_guarantee_is_stored_with_the_sample_and_survives_saving(tmp_path):
    generator = fitted(*shop(60))
    generator.save(tmp_path / "model")
    loaded = base.load(tmp_path / "model")
    told = loaded.facts()["privacy"]
    assert told == generator.facts()["privacy"]
    assert told["epsilon"] <= told["epsilon_asked"] == 4.0
    assert told["delta"] == pytest.approx(60**-1.1)
    assert set(told["public"]) == {"items", "training set", "users", "time", "domains"}
    assert loaded.sample(5, seed=1).equals(generator.sample(5, seed=1))
    assert base.find("profile_vae")(QUICK).fit(TrainingData(*shop(60)[:1])).facts() == {}


def test_the_curve_of_a_private_training_tells_nothing_of_real_users():
    rows = []
    fitted(*shop(60), log=rows.append)
    assert [row["step"] for row in rows] == [3, 6]
    assert set(rows[0]) == {"step", "coverage", "duplicates", "popularity_correlation"}, (
        "no loss of real users"
    )


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"coverage": 0.01, "duplicates": 0.0}, "item coverage shrank"),
        ({"coverage": 1.0, "duplicates": 1.0}, "near copies"),
    ],
)
def test_a_private_training_whose_users_become_alike_is_refused(seen, said):
    sound, rows = {"coverage": 0.9, "duplicates": 0.0}, []
    measured = iter([sound, sound, seen])  # untrained, at step 3, at step 6
    state = TrainState({"network": network()}, {}, dict, lambda: next(measured), 0)
    table, users = shop(60)
    with pytest.raises(
        RefusedError, match=rf"private training of toy diverged at step 6: .*{said}.*by popularity"
    ):
        train_privately(
            lambda lr_factor: state,
            name="toy",
            steps=6,
            log_every=3,
            data=TrainingData(table, users=users, items=ITEMS, log=rows.append),
            fingerprint="",
        )
    assert rows == [{"step": 3, **sound}, {"step": 6, **seen}]


def test_hardware_is_not_asked_by_a_private_training_and_that_is_said(caplog):
    fitted(*shop(60), hardware=Hardware(devices=2))
    assert "profile_vae trains with privacy: on one device in full precision" in caplog.text


def test_an_interrupted_private_training_goes_on_where_it_was(tmp_path):
    table, users = shop(60)
    config = {"steps": 12, "log_every": 2}
    whole = fitted(table, users, config)

    def interrupt(row):
        if row["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(table, users, config, checkpoints=tmp_path / "state", log=interrupt)
    steps = []
    resumed = fitted(
        table,
        users,
        config,
        checkpoints=tmp_path / "state",
        log=lambda row: steps.append(row["step"]),
    )
    assert steps == [2, 4, 6, 8, 10, 12]
    for key, array in whole._state().items():
        np.testing.assert_array_equal(array, resumed._state()[key], err_msg=key)


def test_the_secret_changes_all_noise_and_is_written_nowhere(tmp_path, monkeypatch):
    plain, table = secret_seed(3, "gradients"), shop(60)
    open_ = fitted(*table)
    monkeypatch.setenv(SECRET, "correct horse battery staple")
    assert secret_seed(3, "gradients") != plain
    hidden = fitted(*table)
    hidden.save(tmp_path / "model")
    assert not np.array_equal(open_.conditions.lengths, hidden.conditions.lengths)
    assert not torch.equal(weights(open_.network), weights(hidden.network))
    assert "which must be secret" in open_.facts()["privacy"]["seed"]
    assert SECRET in hidden.facts()["privacy"]["seed"]
    assert not [p for p in (tmp_path / "model").iterdir() if b"horse" in p.read_bytes()]


def test_without_a_catalogue_nothing_private_can_be_learnt():
    table, users = shop(60)
    whole = {**QUICK, "privacy": DECLARED}
    with pytest.raises(InputError, match="items table"):
        base.find("profile_vae")(whole).fit(TrainingData(table, users=users))
    with pytest.raises(InputError, match="holds none"):
        base.find("profile_vae")(whole).fit(
            TrainingData(table, users=users, items=pl.DataFrame({"item_id": ["other"]}))
        )


@pytest.mark.parametrize(
    ("privacy", "word"),
    [
        ({"attributes": {"shoe_size": ["43"]}}, "shoe_size"),
        ({"events": {}}, "no event"),
        ({"attributes": {"taste": [f"v{n}" for n in range(70_000)]}}, "too many"),
    ],
)
def test_declarations_that_make_no_sense_are_refused(privacy, word):
    with pytest.raises(ConfigError, match=word):
        fitted(*shop(60), privacy=privacy)


def test_numbers_are_cut_at_the_declared_edges():
    table, users = shop(60)
    ages = users.with_columns(age=pl.Series([None, *range(20, 79)]))
    labels = fitted(table, ages, privacy={"attributes": {"age": [45.0, 25.0]}}).conditions.labels
    assert labels == {"age": ["<=25", "<=45", ">45", "unknown"]}
    with pytest.raises(ConfigError, match="edges"):
        fitted(table, ages, privacy={"attributes": {"age": ["young"]}})


def test_posterior_sampling_is_refused():
    with pytest.raises(ConfigError, match="codes of real users"):
        fitted(*shop(60), {"sampling": "posterior"})


def test_steps_without_any_sampled_user_are_taken_like_any_other():
    generator = fitted(*shop(60), {"batch_size": 1})
    assert generator.facts()["privacy"]["sample_rate"] == pytest.approx(1 / 60)
    assert generator.sample(5)["user_id"].n_unique() == 5


def test_a_private_training_that_breaks_is_not_tried_again():
    with pytest.raises(RefusedError, match="diverged at step 3: a weight is not a number"):
        fitted(*shop(60), {"learning_rate": 1e30})
