"""What policies do with rows: fusion, expansion, negatives, weights, noise, pieces, and none that
is real."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from test_policy_selectors import BLUE, REAL, RED, made, people, some

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.errors import ConfigError
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import find


def build(
    *steps: dict[str, Any], real: pl.DataFrame = REAL, seed: int = 3, **samples: pl.DataFrame
) -> pl.DataFrame:
    return Policy("p", list(steps), seed=seed).apply(PolicyInputs(real, samples.__getitem__, 10.0))


def added(*steps: dict[str, Any], **options: Any) -> pl.DataFrame:
    return build(*steps, **options).filter(pl.col("origin") != "real")


def users_by_origin(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by("origin").agg(pl.col("user_id").n_unique()).iter_rows())


GAN, VAE = made(some(RED, 120, 8, 4)), people(some(BLUE, 120, 8, 5), "synthetic:vae:", "vae")


def test_several_samples_give_their_shares_of_the_users():
    mix = {"samples": {"gan": 3.0, "vae": 1.0}, "ratio": 0.5}
    assert users_by_origin(added({"mix": mix}, gan=GAN, vae=VAE)) == {"gan": 45, "vae": 15}
    mix = {"samples": {"gan": 1.0, "vae": 1.0, "bootstrap": 1.0}, "ratio": 100 / 120}
    found = users_by_origin(added({"mix": mix}, gan=GAN, vae=VAE))
    assert sum(found.values()) == 100 and set(found.values()) == {33, 34}


def test_a_share_of_nothing_asks_for_no_sample():
    assert users_by_origin(
        added({"mix": {"samples": {"gan": 1.0, "vae": 0.0}, "ratio": 0.1}}, gan=GAN)
    ) == {"gan": 12}


def test_a_mix_is_as_artificial_as_what_it_mixes():
    kinds = {
        name: Policy("p", [{"mix": {"samples": {name: 1.0, "truncate": 1.0}}}], seed=0).kind
        for name in ("truncate", "split", "bootstrap", "noise", "gan")
    }
    assert kinds == {
        "truncate": "real",
        "split": "real",
        "bootstrap": "placebo",
        "noise": "placebo",
        "gan": "generated",
    }


def test_users_of_an_operation_keep_their_hidden_targets_when_they_are_chosen():
    rows = added(
        {
            "mix": {
                "sample": "truncate",
                "ratio": 0.2,
                "pool": 1.0,
                "choose": [{"length": {"min": 2}}],
            }
        }
    )
    assert users_by_origin(rows) == {"truncate": 24}
    assert rows.group_by("user_id").agg(pl.col("observed").all())["observed"].any() is False


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({}, "either one `sample`"),
        ({"sample": "gan", "samples": {"vae": 1.0}}, "either one `sample`"),
        ({"samples": {"gan": 0.0}}, "must not be negative"),
        ({"sample": "reweigh"}, "makes no users"),
        ({"sample": "expand"}, "makes no users"),
    ],
)
def test_a_mix_without_users_is_refused(mix, message):
    with pytest.raises(ConfigError, match=message):
        Policy("p", [{"mix": mix}], seed=0)


def test_expansion_gives_short_histories_more_of_their_taste():
    real = people([*some(RED, 60, 8, 1), *some(BLUE, 60, 8, 2), RED[:2], BLUE[:3]])
    rows = added({"expand": {"items": 4, "max_length": 5, "weight": 0.25}}, real=real)
    assert users_by_origin(rows) == {"expand": 2} and len(rows) == 8
    assert set(rows.filter(pl.col("user_id") == "u0120")["item_id"]) <= set(RED[2:])
    assert set(rows.filter(pl.col("user_id") == "u0121")["item_id"]) <= set(BLUE[3:])
    assert rows["weight"].unique().to_list() == [0.25] and not rows["observed"].any()
    last = real.group_by("user_id").agg(pl.col("timestamp").max())
    assert rows.join(last, on=["user_id", "timestamp"], how="anti").is_empty()


def test_negatives_are_what_others_took_and_the_user_did_not():
    rows = added({"negatives": {"items": 15}})
    assert rows["negative"].all() and set(rows["user_id"]) == set(REAL["user_id"])
    assert rows.join(REAL, on=["user_id", "item_id"], how="semi").is_empty()
    real = people(some(RED, 110, 8, 1) + some(BLUE, 10, 8, 2))
    assert (
        added({"negatives": {"items": 5}}, real=real)["item_id"].str.starts_with("red").mean() > 0.8
    )


def test_a_pairwise_recommender_ranks_the_negatives_below_and_others_never_see_them():
    left = REAL.select("user_id").unique().sort("user_id").with_columns(item_id=pl.lit(RED[0]))
    keep = REAL.filter(~((pl.col("item_id") == RED[0]) & (pl.col("user_id") >= "u0030")))
    marked = pl.concat(
        [
            keep.with_columns(negative=pl.lit(False)),
            keep.head(90).with_columns(
                user_id=left["user_id"][30:120],
                item_id=left["item_id"][30:120],
                negative=pl.lit(True),
            ),
        ]
    )
    asked = pl.Series([RED[1:4]])
    bpr = {"steps": 150, "batch_size": 64, "factors": 8, "learning_rate": 0.05, "weight_decay": 0.1}
    score = {}
    for name, rows in {"plain": keep, "marked": marked}.items():
        model = find("bpr")(bpr, seed=1).fit(TrainingData(rows))
        ranked, _ = model.recommend(asked, 37, exclude_seen=True)
        score[name] = ranked[0].tolist().index(RED[0])
    assert score["marked"] > score["plain"]
    for name in ("ease", "popularity", "item_knn"):
        plain, with_them = (
            find(name)({}, seed=1).fit(TrainingData(rows)).recommend(asked, 10)
            for rows in (keep, marked)
        )
        assert plain[0].tolist() == with_them[0].tolist() and np.array_equal(plain[1], with_them[1])


@pytest.mark.parametrize(
    ("by", "column"), [("item", "item_id"), ("user", "user_id"), ("event", "event")]
)
def test_reweighing_makes_classes_weigh_alike(by, column):
    real = pl.concat(
        [
            people(some(RED, 90, 4, 1) + some(BLUE, 10, 2, 2)),
            people(some(RED, 20, 1), "v", event="purchase"),
        ]
    )
    rows = build({"reweigh": {"by": by, "power": 1.0, "most": 1000.0}}, real=real)
    assert rows.drop("weight").equals(real.drop("weight")) and rows[
        "weight"
    ].mean() == pytest.approx(1.0, rel=1e-4)
    sums = rows.group_by(column).agg(pl.col("weight").sum())["weight"]
    assert sums.max() == pytest.approx(sums.min(), rel=1e-3)
    assert build({"reweigh": {"by": by, "power": 0.0}}, real=real)["weight"].unique().to_list() == [
        1.0
    ]
    assert build({"reweigh": {"by": by, "most": 1.5}}, real=real)["weight"].max() <= 1.5


def test_late_rows_weigh_twice_those_a_half_life_older():
    rows = build({"reweigh": {"by": "recency", "half_life_days": 2.0}}).filter(
        pl.col("user_id") == "u0000"
    )
    weights = rows.sort("timestamp")["weight"].to_numpy()
    assert np.allclose(weights[2:] / weights[:-2], 2.0, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"by": "recency", "power": 0.5},
        {"by": "item", "half_life_days": 7.0},
        {"half_life_days": 7.0},
    ],
)
def test_reweighing_refuses_what_would_do_nothing(options):
    with pytest.raises(ConfigError, match="does nothing with by: "):
        build({"reweigh": options})


def test_reweighing_leaves_negatives_as_they_are_and_where_they_are():
    rows = build({"negatives": {"items": 3}}, {"reweigh": {"by": "item"}})
    assert rows.drop("weight").equals(build({"negatives": {"items": 3}}).drop("weight"))
    assert rows.filter("negative")["weight"].unique().to_list() == [1.0]


def test_noise_drops_and_replaces_about_the_set_share_of_rows():
    real = people(some(RED, 200, 10, 1))
    rows = added({"noise": {"drop": 0.3, "replace": 0.0}}, real=real)
    assert len(rows) / len(real) == pytest.approx(0.7 + 0.03, abs=0.04)  # the last row always stays
    values = ["item_id", "timestamp"]
    assert rows.join(real, on=values, how="anti").is_empty()
    all_red = people(some(RED, 150, 6, 1) + [BLUE[:10]] * 50)
    replaced = added({"noise": {"drop": 0.0, "replace": 1.0}}, real=all_red)
    assert replaced["item_id"].str.starts_with("red").mean() == pytest.approx(900 / 1400, abs=0.08)
    same = added({"noise": {"drop": 0.0, "replace": 0.0}}, real=real)
    assert len(same) == len(real)


def test_pieces_are_runs_of_a_real_history():
    real = people([[f"i{user}-{place:02}" for place in range(30)] for user in range(10)])
    rows = added({"split": {"ratio": 4.0, "min_length": 3, "max_length": 6}}, real=real)
    pieces = rows.group_by("user_id", maintain_order=True).agg("item_id")["item_id"].to_list()
    assert len(pieces) == 40 and {len(piece) for piece in pieces} == {3, 4, 5, 6}
    for piece in pieces:
        places = [int(item.partition("-")[2]) for item in piece]
        assert places == list(range(places[0], places[0] + len(piece)))
        assert len({item.partition("-")[0] for item in piece}) == 1
    owners = [piece[0].partition("-")[0] for piece in pieces]
    assert {owners.count(owner) for owner in owners} == {4}, "every user gives equally many"
    assert len({piece[0].partition("-")[2] for piece in pieces}) > 5, "they begin anywhere"


def test_merged_users_have_all_items_of_all_parents():
    real = people([[f"i{user}-{item}" for item in range(4)] for user in range(12)])
    rows = added({"crossover": {"parents": 3, "share": 1.0}}, real=real)
    for items in rows.group_by("user_id").agg("item_id")["item_id"]:
        parents = [item.partition("-")[0] for item in items]
        assert len(parents) == 12 and {parents.count(parent) for parent in parents} == {4}


def test_a_policy_without_real_rows_holds_the_sample_and_nothing_else():
    rows = build({"mix": {"sample": "gan", "ratio": 0.5}}, {"synthetic_only": {}}, gan=GAN)
    assert rows.equals(added({"mix": {"sample": "gan", "ratio": 0.5}}, gan=GAN)) and len(rows)
    first = build({"synthetic_only": {}}, {"mix": {"sample": "gan", "ratio": 0.5}}, gan=GAN)
    assert first["origin"].unique().to_list() == ["gan"]


@pytest.mark.parametrize(
    "step",
    [
        {"bootstrap": {}},
        {"truncate": {}},
        {"split": {}},
        {"noise": {}},
        {"expand": {}},
        {"negatives": {}},
        {"continue_champion": {}},
        {"mix": {"samples": {"gan": 1.0, "bootstrap": 1.0}}},
        {"search": {"samples": ["crossover"]}},
        {"extend": {"sample": "gan"}},
    ],
)
def test_what_would_bring_real_rows_under_other_names_is_refused(step):
    with pytest.raises(ConfigError, match="no row of a real user"):
        Policy("p", [{"mix": {"sample": "gan"}}, step, {"synthetic_only": {}}], seed=0)


def test_a_policy_without_any_row_is_refused():
    with pytest.raises(ConfigError, match="nothing is left to train on"):
        build({"mix": {"sample": "gan", "weight": 0.0}}, {"synthetic_only": {}}, gan=GAN)


@pytest.mark.parametrize("name", ["multvae", "demographics", "popularity"])
def test_a_recommender_learns_from_synthetic_rows_alone_whatever_is_known_of_real_users(name):
    rows = build({"mix": {"sample": "gan"}}, {"synthetic_only": {}}, gan=GAN)
    options = {"steps": 30, "hidden": 8, "latent": 4} if name == "multvae" else {}
    people = REAL.select("user_id").unique(maintain_order=True)
    states = []
    for ages in (np.arange(len(people)), np.arange(len(people))[::-1] * 2):
        users = people.with_columns(age=pl.Series(ages))
        states.append(find(name)(options, seed=0).fit(TrainingData(rows, users=users))._state())
    assert set(states[0]["items"]) == set(GAN["item_id"])
    for key, array in states[0].items():
        assert np.array_equal(array, states[1][key]), key
