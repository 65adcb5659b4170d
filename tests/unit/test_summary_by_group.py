"""Groups of users and periods: who is served worst, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from augrec.core.config import parse
from augrec.data.columns import TIME
from augrec.data.config import ImportConfig
from augrec.data.own_tables import Source, import_tables
from augrec.evaluation.user_means import by_group, by_time, groups_of_users

N = 90


def measured(values: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": [f"u{row}" for row in range(len(values))],
            "slice": "0",
            "ndcg@5": values,
            "novelty@5": values,
        }
    )


def cases(**columns: object) -> pl.DataFrame:
    start = datetime(2024, 1, 30, tzinfo=UTC)
    days = [start + timedelta(days=row) for row in range(N)]
    lists = [["i"]] * N
    return pl.DataFrame(
        {
            "user_id": [f"u{row}" for row in range(N)],
            "slice": "0",
            "moment": days,
            "history": lists,
            "targets": lists,
            **columns,
        },
        schema_overrides={"moment": TIME},
    )


def test_the_worst_group_and_the_gap_are_those_of_the_means():
    region = ["north", "south", "west"] * (N // 3)
    values = [{"north": 0.5, "south": 0.2, "west": 0.4}[name] for name in region]
    found = by_group(measured(values), cases(region=region, user__n=1.0))
    assert set(found) == {"region"}  # features make no groups
    assert found["region"]["worst"] == {"ndcg@5": "south"}
    assert found["region"]["gap"]["ndcg@5"] == pytest.approx(0.3)
    assert found["region"]["groups"]["west"] == {"n_users": 30, "ndcg@5": pytest.approx(0.4)}


def test_each_user_is_listed_once_with_the_groups_that_the_gaps_are_between():
    region = ["north", "south", "west"] * (N // 3)
    twice = pl.concat([cases(region=region, age=range(N), user__n=1.0)] * 2)
    found = groups_of_users(twice)
    assert found.columns == ["user_id", "region", "age"] and len(found) == N
    assert found.filter(user_id="u1")["region"].to_list() == ["south"]
    parts = by_group(measured([0.0] * 2 * N).with_columns(twice["user_id"]), twice)
    assert dict(found["age"].value_counts().iter_rows()) == {
        name: part["n_users"] for name, part in parts["age"]["groups"].items()
    }
    assert groups_of_users(cases()).columns == ["user_id"]


def test_a_group_that_is_too_small_is_shown_but_makes_no_gap():
    kind = ["few"] * 5 + ["many"] * (N - 5)
    found = by_group(measured([0.0] * 5 + [1.0] * (N - 5)), cases(kind=kind))["kind"]
    assert found["groups"]["few"]["ndcg@5"] == 0.0
    assert found["gap"] == {"ndcg@5": None} and found["worst"] == {"ndcg@5": None}


def test_numbers_are_cut_into_thirds_and_the_unknown_are_a_group_of_their_own():
    ages: list[int | None] = [*range(18, 18 + N - 6), *[None] * 6]
    groups = by_group(measured([0.1] * N), cases(age=ages))["age"]["groups"]
    sizes = {name: part["n_users"] for name, part in groups.items()}
    assert sizes.pop("unknown") == 6
    assert sorted(sizes.values()) == pytest.approx([28, 28, 28], abs=1)


def test_a_number_that_is_nan_is_unknown_and_not_the_largest():
    ages = [*map(float, range(18, 18 + N - 6)), *[float("nan")] * 6]
    nulls = [*ages[: N - 6], *[None] * 6]
    scores = measured([0.1] * N)
    assert by_group(scores, cases(age=ages)) == by_group(scores, cases(age=nulls))
    few = by_group(scores, cases(weight=[1.5, 2.5, float("nan")] * (N // 3)))["weight"]["groups"]
    assert set(few) == {"1.5", "2.5", "unknown"}
    assert (
        groups_of_users(cases(age=ages))["age"].value_counts().filter(age="unknown")["count"].item()
        == 6
    )


def test_ages_imported_from_csv_are_cut_into_thirds(tmp_path):
    ages = [18 + row % 60 for row in range(N)]
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\nu0,i,2024-01-01\n")
    (tmp_path / "users.csv").write_text(
        "user_id,age,zip\n" + "".join(f"u{row},{age},{row:05}\n" for row, age in enumerate(ages))
    )
    settings = parse(ImportConfig, {"users": {"extra": ["age", "zip"]}}, "data.import")
    log, users = (Source(str(tmp_path / f"{name}.csv")) for name in ("log", "users"))
    known = import_tables(settings, log, users=users).tables.users
    told = cases().join(known, on="user_id", how="left", maintain_order="left")
    assert list(by_group(measured([0.1] * N), told)) == ["age"]  # a zip code is a name
    assert sorted(groups_of_users(told)["age"].unique()) == [
        "above 33 to 47",
        "above 47",
        "up to 33",
    ]


def test_names_and_constants_make_no_groups():
    names = [f"name {row}" for row in range(N)]
    assert by_group(measured([0.1] * N), cases(name=names, planet="earth")) == {}
    assert by_group(measured([0.1] * N), cases()) == {}


def test_periods_are_the_finest_that_are_not_too_many():
    values = np.linspace(0, 1, N).tolist()
    found = by_time(measured(values), cases())
    assert list(found) == ["2024-01", "2024-02", "2024-03", "2024-04"]
    assert found["2024-02"] == {"n_users": 29, "ndcg@5": pytest.approx(np.mean(values[2:31]))}
    few = by_time(measured(values[:10]), cases()[:10])
    assert next(iter(few)) == "2024-01-30" and len(few) == 10
    assert by_time(measured([]), cases()[:0]) == {}
