"""What trainings that differ by chance tell of chance."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import InputError
from augrec.evaluation.bootstrap import Noise, interval
from augrec.evaluation.multiple import holm
from augrec.evaluation.paired import Paired
from augrec.evaluation.repetitions import pooled, read, repeated_means, values_of


def table(values: list[float], slices: list[str] | None = None) -> pl.DataFrame:
    n = len(values)
    return pl.DataFrame(
        {"user_id": [f"u{n}" for n in range(n)], "slice": slices or ["1-5"] * n, "ndcg@10": values}
    )


def test_planted_variances_of_training_are_found_from_pairs_of_trainings() -> None:
    random = np.random.default_rng(0)
    together, apart, n = 0.02, 0.1, 100
    arms = [
        random.normal(0.3, 0.2, n)
        + random.normal(0, together, (2, 1))
        + random.normal(0, apart, (2, n))
        for _ in range(800)
    ]
    found = pooled(arms)
    assert found.degrees == 800
    assert found.apart == pytest.approx(apart**2 / n, rel=0.05)
    assert found.variance == pytest.approx(together**2 + apart**2 / n, rel=0.15)


def test_arms_trained_once_say_nothing_about_training() -> None:
    assert pooled([np.zeros((1, 10)), np.ones((1, 10))]).degrees == 0
    assert pooled([np.zeros((1, 10)), np.ones((2, 10))]).degrees == 1


def test_luck_in_training_widens_an_interval_as_a_sum_of_variances_does() -> None:
    values = np.random.default_rng(0).normal(0, 1, 400)  # standard error 0.05
    options = {"confidence": 0.95, "samples": 20_000, "seed": 1}
    low, high = interval(values, **options)
    wide_low, wide_high = interval(values, noise=Noise(0.05, degrees=1000), **options)
    assert (wide_high - wide_low) / (high - low) == pytest.approx(np.sqrt(2), rel=0.03)
    once_low, once_high = interval(
        values, noise=Noise(0.05, 1000, apart=values.var(ddof=1) / 400), **options
    )
    assert (once_high - once_low) / (high - low) == pytest.approx(1.0, rel=0.03)
    few_low, few_high = interval(values, noise=Noise(0.05, degrees=2), **options)
    assert few_high - few_low > 1.3 * (wide_high - wide_low)
    assert interval(values, noise=Noise(), **options) == (low, high)


def test_an_arm_has_the_variance_of_training_if_it_was_repeated_or_uses_a_generators_sample() -> (
    None
):
    arms = {
        "none": [table([0.1, 0.3, 0.5]), table([0.3, 0.2, 0.6])],
        "popularity": [table([0.2, 0.2, 0.2])],
        "gan": [table([0.2, 0.4, 0.6])],
    }
    paired = Paired(arms, generated=["gan"])
    once = np.sqrt(paired.spread("ndcg@10").variance)
    assert once > 0
    found = paired.sds(list(arms), "ndcg@10", "overall")
    np.testing.assert_allclose(found, [once / np.sqrt(2), 0, once])
    noise = paired.noise("gan", "none", "ndcg@10", "overall")
    assert noise.sd == pytest.approx(once * np.sqrt(1 + 1 / 2))


def test_holms_correction_divides_by_the_number_of_those_left() -> None:
    p_values = {"a": 0.01, "b": 0.02, "c": 0.2}
    divided = holm(list(p_values), lambda name, tests: p_values[name] * tests <= 0.05)
    assert divided == {"a": 3, "b": 2, "c": 1}
    assert holm(list(p_values), lambda name, tests: False) == {"a": 3, "b": 3, "c": 3}


def test_means_of_each_training_are_given_by_slice() -> None:
    slices = ["1-5", "1-5", "21+"]
    found = repeated_means(
        [table([0.1, 0.3, 0.5], slices), table([0.3, 0.5, 0.5], slices)], "ndcg@10"
    )
    assert list(found) == ["overall", "1-5", "21+"]
    assert found["1-5"]["values"] == pytest.approx([0.2, 0.4]) and found["1-5"][
        "mean"
    ] == pytest.approx(0.3)
    assert (
        found["1-5"]["sd"] == pytest.approx(np.std([0.2, 0.4], ddof=1)) and found["21+"]["sd"] == 0
    )
    assert repeated_means([table([0.1])], "ndcg@10")["overall"]["sd"] is None


def test_repetitions_measured_on_other_users_are_refused() -> None:
    with pytest.raises(InputError, match="not measured on the same users"):
        values_of([table([0.1, 0.2]), table([0.1])], "ndcg@10")


def test_an_arms_folder_is_read_repetition_by_repetition(tmp_path) -> None:
    first, second, third = (
        table([value]).with_columns(split=pl.lit("test")) for value in (0.1, 0.2, 0.3)
    )
    first.write_parquet(tmp_path / "per_user.parquet")
    assert len(read(tmp_path)) == 1
    further = [
        one.with_columns(repetition=pl.lit(number)) for number, one in ((1, second), (2, third))
    ]
    pl.concat(further).write_parquet(tmp_path / "repetitions.parquet")
    assert [one["ndcg@10"][0] for one in read(tmp_path)] == [0.1, 0.2, 0.3]
    assert read(tmp_path, ["split", "ndcg@10"])[2].columns == ["split", "ndcg@10"]
