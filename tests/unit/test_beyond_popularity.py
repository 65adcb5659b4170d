"""What the audit says of samples that are known to be popularity, real users, or between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import yaml

from augrec.audit.beyond_popularity import beyond_popularity
from augrec.audit.limit_checks import check_limits
from augrec.core.errors import RefusedError
from augrec.data.histories import ItemIndex
from augrec.data.item_pairs import ItemPairs, shortened
from augrec.data.similarity import profiles
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.training_data import TrainingData
from augrec.generators.base import find

HOME = Path(__file__).parents[2]
LIMITS = yaml.safe_load((HOME / "params.yaml").read_text())["audit"]["limits"]
LIMIT = {name: LIMITS[name] for name in ("min_beyond_popularity",)}


def shop(n_users: int = 400, n_items: int = 150, rows: int = 8000) -> sp.csr_matrix:
    made = simulate(ShopConfig(n_users=n_users, n_items=n_items, n_interactions=rows), seed=3)
    return profiles(made.interactions, ItemIndex(made.interactions["item_id"]))


REAL = shop()


def measured(sample: sp.csr_matrix, real: sp.csr_matrix = REAL, seed: int = 1) -> dict[str, float]:
    return beyond_popularity(real, sample, top_items=80, max_users=1000, confidence=0.95, seed=seed)


def independent(n: int, real: sp.csr_matrix = REAL, seed: int = 5) -> sp.csr_matrix:
    random = np.random.default_rng(seed)
    lengths = random.choice(np.diff(real.indptr), n)
    return ItemPairs.of(real, 80).independent(lengths, random)


@pytest.mark.parametrize("seed", range(5))
def test_users_drawn_by_popularity_are_not_beyond_it_and_break_the_limit(seed: int) -> None:
    found = measured(independent(400, seed=100 + seed), seed=seed)
    assert abs(found["beyond_popularity"]) < 0.06
    assert check_limits(found, LIMIT) == {"min_beyond_popularity": "broken"}


def test_copies_of_real_users_go_all_the_way_and_half_of_them_goes_half() -> None:
    random = np.random.default_rng(2)
    copies = REAL[random.integers(0, REAL.shape[0], 400)]
    assert measured(copies)["beyond_popularity"] == pytest.approx(1, abs=0.05)
    mixed = sp.vstack([copies[:200], independent(200)]).tocsr()
    found = measured(mixed)
    assert 0.3 < found["beyond_popularity"] < 0.8
    assert found["beyond_popularity_low"] < found["beyond_popularity"]
    assert found["beyond_popularity"] < found["beyond_popularity_high"]
    assert check_limits(found, LIMIT) == {"min_beyond_popularity": "kept"}


def test_a_sample_of_short_profiles_is_held_against_short_profiles() -> None:
    random = np.random.default_rng(6)
    copies = shortened(REAL[random.integers(0, REAL.shape[0], 400)], np.full(400, 4), random)
    assert np.diff(copies.indptr).max() == 4 and copies.max() == 1
    found = measured(copies)
    assert found["beyond_popularity_low"] < 1 < found["beyond_popularity_high"] + 0.1
    assert check_limits(found, LIMIT) == {"min_beyond_popularity": "kept"}


def test_more_lengths_alone_are_no_taste() -> None:
    """Long profiles hold more of everything, which correlates items without any taste."""
    lengths = np.random.default_rng(4).choice([2, 60], 500)
    table = np.zeros((500, 120), np.float32)
    for row, length in enumerate(lengths):
        table[row, np.random.default_rng(row).permutation(120)[:length]] = 1
    real = sp.csr_matrix(table)
    found = measured(independent(500, real), real)
    assert found["beyond_popularity_low"] < 0.1, "nothing can be learnt here but lengths"


def test_too_little_data_to_tell_decides_nothing() -> None:
    few = sp.csr_matrix(np.eye(6, dtype=np.float32))
    found = measured(few, few)
    assert found["beyond_popularity_low"] < 0.1 < found["beyond_popularity_high"]
    assert check_limits(found, LIMIT) == {"min_beyond_popularity": "undecided"}


def test_a_training_that_teaches_nothing_is_refused_and_a_sound_one_is_not() -> None:
    made = simulate(ShopConfig(n_users=200, n_items=60, n_interactions=3000), seed=3)
    curve: list = []
    data = TrainingData(made.interactions)
    small = {"steps": 120, "batch_size": 32, "hidden": 64, "log_every": 20}
    still = small | {"learning_rate": 1e-9}
    with pytest.raises(RefusedError, match=r"taught it nothing.*the critic guessed") as caught:
        find("profile_gan")(still, seed=1).fit(replace(data, log=curve.append))
    assert "latent_gan" in caught.value.fix
    assert [row["step"] for row in curve] == [20, 40, 60, 80, 100, 120], "the curve shows why"
    assert max(abs(row["critic"] - np.log(2)) for row in curve) < 0.02
    find("profile_gan")(small | {"learning_rate": 5e-3}, seed=1).fit(data)
