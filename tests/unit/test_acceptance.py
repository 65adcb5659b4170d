"""Before generators train, a run says how often the gate accepted generated data on data of that
size, and what finding out costs."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest

from augrec.core.config import read_params
from augrec.data.canonical import write_raw
from augrec.data.simulate import ShopConfig, simulate
from augrec.evaluation import acceptance as table
from augrec.evaluation.acceptance import Sample, compare
from augrec.reporting.acceptance_words import before_training, measured_anywhere
from augrec.stages.advice import advice

HOME = Path(__file__).parents[2]
PARAMS = read_params(HOME)
SIZE = (100, 300, 1_500)


def samples(accepted: int, refused: int, size: tuple[int, int, int] = SIZE) -> list[Sample]:
    return [Sample(*size, number < accepted) for number in range(accepted + refused)]


def test_samples_of_another_size_count_less() -> None:
    far = samples(9, 0, (100_000, 300, 1_500_000))
    longer = samples(9, 0, (100, 300, 15_000))
    found = compare([*samples(1, 19), *far, *longer], 150, 300, 2_000, others=0.1)
    assert (found.accepted, found.measured) == (1, 20)
    assert (found.accepted_anywhere, found.measured_anywhere) == (19, 38)
    assert found.chance == pytest.approx((0.5 + 1 + 1.8) / (1 + 20 + 1.8))


def test_where_nothing_was_accepted_the_bound_is_that_of_so_many_failures() -> None:
    bounds = [compare(samples(0, n), *SIZE, others=1).at_most for n in (10, 40, 160)]
    assert bounds == sorted(bounds, reverse=True)
    for n, bound in zip((10, 40, 160), bounds, strict=True):
        assert 1.5 / n < bound < 3 / n, "below the rule of three, which has no prior"


def test_the_chance_is_within_its_bound_and_rises_with_what_was_accepted() -> None:
    found = [compare(samples(k, 20 - k), *SIZE, others=1) for k in range(0, 21, 4)]
    assert all(0 < one.chance < one.at_most < 1 for one in found)
    assert [one.chance for one in found] == sorted(one.chance for one in found)


def test_data_of_no_measured_size_are_told_so() -> None:
    said = before_training(compare(samples(1, 9), 10**6, 10**5, 10**7, others=0.1), {})
    assert said.startswith("Generated users passed the gate in ")
    assert "none was of about the size of this data. For such data as were measured" in said
    assert "The chance here" not in said


def test_the_sentence_has_counts_chance_bound_cost_and_the_way_out() -> None:
    said = before_training(
        compare(samples(2, 37), *SIZE, others=1), {"profile_gan": 200, "own": None}
    )
    assert "39 were of about the size of this data, with 2 passes" in said
    assert "The chance here is about 1 in 16 and at most 1 in 7 (95 % bound)" in said
    assert "Training profile_gan, own takes at least about 3 minutes of CPU time" in said
    assert said.endswith("`run.generators: []` skips generated data.")


def test_where_nothing_ever_passed_only_the_bound_is_told() -> None:
    said = before_training(compare(samples(0, 39), *SIZE, others=1), {"profile_gan": 20.0})
    assert "The chance here is at most 1 in 21 (95 % bound)" in said


def test_the_table_that_ships_is_whole() -> None:
    rows = json.loads(table._TABLE.read_text())
    assert 0 <= rows["others"] <= 1 and (HOME / rows["table"]).is_file()
    assert all(0 < users <= interactions for _, users, _, interactions, _ in rows["samples"])
    steps = [table.training_seconds("profile_gan", n, 1_000) for n in (400, 800)]
    assert steps[0] is not None and steps[1] == pytest.approx(2 * steps[0])
    assert table.training_seconds("unknown", 400, 1_000) is None


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "raw"
    write_raw(folder, *simulate(ShopConfig(n_users=80, n_items=60, n_interactions=900), 0), {})
    return folder


def with_generators(*names: str) -> dict:
    params = deepcopy(PARAMS)
    params["run"]["generators"] = list(names)
    return params


def test_a_run_with_generators_is_told_and_one_without_is_not(raw: Path) -> None:
    said = advice(with_generators("profile_gan"), raw)
    assert said is not None and "Training profile_gan takes about" in said
    assert advice(with_generators(), raw) is None
    assert advice(with_generators("profile_gan"), raw.parent / "nowhere") is None


def test_a_window_without_rows_is_no_data(raw: Path) -> None:
    params = with_generators("profile_gan")
    params["data"]["window"]["start"] = "2090-01-01"
    assert advice(params, raw) is None


def test_the_trigger_form_has_the_same_counts(raw: Path) -> None:
    from augrec.orchestration import form

    told = form.fields(PARAMS)["generators"].schema["description_md"]
    assert measured_anywhere() in told
    assert measured_anywhere() in (advice(with_generators("profile_gan"), raw) or "")
