"""The monitor of a generator's training: what it stops, what it waits for, what it lets pass."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augrec.generators._training.monitor import (
    CRITIC_AUC,
    CRITIC_LEADS,
    CRITIC_WINS,
    TrainingDiverged,
    TrainingMonitor,
    real_statistics,
    sample_statistics,
)

REAL = {"coverage": 0.8, "duplicates": 0.1}
SOUND = {"critic": 0.6, "generator": 0.8, CRITIC_WINS: 0.55, "coverage": 0.7, "duplicates": 0.0}


def check(*changes: dict[str, float], steps: int = 100) -> list[bool]:
    """What the monitor returns for rows 10 steps apart, each sound but for its changes."""
    monitor = TrainingMonitor(REAL, steps)
    return [
        monitor.check(SOUND | {"step": 10 * at} | change)
        for at, change in enumerate(changes, start=1)
    ]


def test_a_sound_training_is_left_alone():
    assert (
        check(*[{"critic": 0.6 + at / 20, "coverage": 0.8 - at / 50} for at in range(10)])
        == [True] * 10
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_stops_training_at_once(value):
    with pytest.raises(TrainingDiverged, match="generator is not a number"):
        check({}, {"generator": value})


def test_a_loss_that_explodes_stops_training_at_once():
    with pytest.raises(TrainingDiverged, match=r"critic exploded to -2e\+07"):
        check({"critic": -2e7})
    with pytest.raises(TrainingDiverged, match=r"critic exploded to 5e\+03"):
        check({}, {}, {"critic": 5e3})


def test_a_loss_that_was_large_from_the_start_has_not_exploded():
    assert check({"critic": 9e4}, {"critic": 5e4}, {"critic": 1.2e5}) == [True] * 3


def test_too_many_duplicates_once_are_suspicious_and_twice_stop_training():
    assert check({}, {"duplicates": 0.4}, {}) == [True, False, True]
    with pytest.raises(
        TrainingDiverged, match=r"40% of the profiles of a sample are near copies.*real users 10%"
    ):
        check({}, {"duplicates": 0.4}, {"duplicates": 0.4})


def test_coverage_that_shrinks_stops_training():
    with pytest.raises(
        TrainingDiverged, match=r"item coverage shrank.*have 10.0% of the items.*80.0%"
    ):
        check({}, {"coverage": 0.3}, {"coverage": 0.1}, {"coverage": 0.1})


def test_what_has_not_learnt_to_vary_yet_has_time_until_half_of_the_training():
    young = {"coverage": 0.01, "duplicates": 1.0}
    assert check(*[young] * 4, {}, {}) == [True] * 6
    with pytest.raises(TrainingDiverged, match="near copies"):
        check(*[young] * 6)


def test_what_is_suspicious_at_the_last_row_stops_training():
    with pytest.raises(TrainingDiverged, match="near copies"):
        check({}, {}, {"duplicates": 0.9}, steps=30)


@pytest.mark.parametrize("sign", [CRITIC_WINS, CRITIC_LEADS, CRITIC_AUC])
def test_a_critic_that_wins_or_loses_at_the_very_last_stops_training(sign):
    with pytest.raises(TrainingDiverged, match="loses outright"):
        check({}, {}, {sign: 0.01}, steps=30)
    with pytest.raises(TrainingDiverged, match="wins outright"):
        check({}, {}, {CRITIC_WINS: 0.99}, steps=30)


@pytest.mark.parametrize("sign", [CRITIC_LEADS, CRITIC_AUC])
def test_a_critic_whose_generator_can_follow_may_win_but_not_lose(sign):
    assert check(*[{sign: 1.0}] * 10) == [True] * 10
    assert check({sign: 0.01}, {sign: 0.01}, {}) == [False, False, True]
    with pytest.raises(TrainingDiverged, match=r"loses outright: it is 99.0% sure that fake"):
        check(*[{sign: 0.01}] * 3)


def test_vectors_at_one_point_stop_training_unless_they_have_yet_to_part():
    one_point = {"spread": 0.02}
    assert check(*[one_point] * 4, {"spread": 0.5}, {"spread": 0.8}) == [True] * 6
    with pytest.raises(
        TrainingDiverged, match=r"collapse to one point: drawn ones lie 2.0% as far apart"
    ):
        check({"spread": 0.8}, one_point, one_point)


@pytest.mark.parametrize(("share", "said"), [(0.99, "wins outright"), (0.01, "loses outright")])
def test_a_critic_that_wins_or_loses_outright_for_long_stops_training(share, said):
    assert check({CRITIC_WINS: share}, {CRITIC_WINS: share}, {}) == [False, False, True]
    with pytest.raises(TrainingDiverged, match=said):
        check(*[{CRITIC_WINS: share}] * 3)


def test_near_copies_of_long_profiles_only_count_as_duplicates():
    twenty, other = np.arange(20), np.arange(20, 40)
    nearly = np.append(twenty[:-1], 39)  # Jaccard 19/21
    found = sample_statistics(
        np.concatenate([twenty, nearly, other, [1], [1]]), np.array([20, 20, 20, 1, 1]), 80
    )
    assert found == {"coverage": 0.5, "duplicates": pytest.approx(1 / 3)}


def test_short_profiles_are_no_duplicates():
    assert sample_statistics(np.array([1, 1, 2]), np.array([1, 2]), 4)["duplicates"] == 0.0


def test_popularity_correlation_is_that_of_the_counts():
    counts = np.array([3, 2, 1, 0])
    found = sample_statistics(
        np.repeat(np.arange(4), counts), np.ones(6, np.int64), 4, popularity=10 * counts
    )
    assert found["popularity_correlation"] == pytest.approx(1.0)


def test_few_real_users_drawn_with_replacement_are_mostly_copies():
    def table(users: int) -> pl.DataFrame:
        rng = np.random.default_rng(0)
        rows = [
            (f"u{user}", f"i{item}")
            for user in range(users)
            for item in rng.choice(300, 9, replace=False)
        ]
        return pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")

    few, many = real_statistics(table(8)), real_statistics(table(2000))
    assert few["duplicates"] == pytest.approx(1 - 8 / 256)
    assert many["duplicates"] < 0.15
    assert few["coverage"] == 1.0
    assert many["coverage"] > 0.99
