"""The router: who serves whom, chosen on validation users, and not by luck."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from augrec.core.component import available
from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import TIME
from augrec.data.slices import SLICES
from augrec.data.training_data import TrainingData
from augrec.recommenders._router.choosing import beats, honest_gain, simplest_of_the_best
from augrec.recommenders.base import Recommender, find, load

N_ITEMS, N_TASTES = 40, 4
IDS = [f"i{item:02}" for item in range(N_ITEMS)]
TOWNS = ["north", "east", "south", "west"]


def people(n_users: int, seed: int) -> tuple[list[list[str]], list[str]]:
    """Users who like a quarter of the items far more than the rest, and the towns that tell
    which."""
    random = np.random.default_rng(seed)
    likes = np.tile(0.5 / np.arange(1, N_ITEMS + 1) ** 0.5, (n_users, 1))
    taste = random.integers(0, N_TASTES, n_users)
    likes[np.arange(N_ITEMS) % N_TASTES == taste[:, None]] += 0.5
    chosen = random.random((n_users, N_ITEMS)) < likes
    lists = [[IDS[item] for item in random.permutation(np.flatnonzero(row))] for row in chosen]
    return lists, [TOWNS[place] for place in taste]


def training(n_users: int = 250) -> tuple[pl.DataFrame, pl.DataFrame]:
    lists, towns = people(n_users, 0)
    names = [f"u{user:03}" for user in range(n_users)]
    rows = [(name, item) for name, items in zip(names, lists, strict=True) for item in items]
    table = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(
        pl.lit(0).cast(pl.Datetime("us")).cast(TIME).alias("timestamp")
    )
    return table, pl.DataFrame({"user_id": names, "town": towns})


def cases(n_users: int = 60, seed: int = 1, shown: tuple[int, ...] = (0, 4, 8)) -> pl.DataFrame:
    lists, towns = people(n_users, seed)
    found = [
        {
            "user_id": f"v{user}",
            "slice": "",
            "history": items[:n],
            "targets": items[n:],
            "town": towns[user],
        }
        for user, items in enumerate(lists)
        for n in shown
        if len(items) > n
    ]
    strings = pl.List(pl.String)
    return pl.DataFrame(found, schema_overrides={"history": strings, "targets": strings})


MEMBERS: list[dict[str, dict[str, Any]]] = [
    {"popularity": {}},
    {"demographics": {"l2": 10}},
    {"item_knn": {}},
]


def router(members: list[dict[str, dict[str, Any]]] = MEMBERS, **config: Any) -> Recommender:
    return find("router")({"members": members, "min_users": 10, **config}, seed=3)


def fit(router_: Recommender, **given: Any) -> Any:
    table, users = training()
    return router_.fit(TrainingData(table, **{"users": users, "cases": cases(), **given}))


@pytest.fixture(scope="module")
def fitted() -> Any:
    return fit(router())


def serving(fitted: Any, name: str) -> dict[str, float]:
    return fitted.choices()["slices"][name]["weights"]


def asked(*lists: list[str]) -> pl.Series:
    return pl.Series(list(lists), dtype=pl.List(pl.String))


def test_users_without_a_history_are_served_by_demographics_and_others_by_their_history(fitted):
    assert "demographics" in serving(fitted, "0")
    assert serving(fitted, "6-20").get("popularity", 0) < 0.5
    [items] = fitted.recommend(asked([]), 6, user_features=pl.DataFrame({"town": ["south"]}))[0]
    assert sum(int(item[1:]) % N_TASTES == 2 for item in items) >= 5
    assert fitted.recommend(asked([]), 1)[0] == "i00"  # of whom nothing is known


def test_a_slice_without_validation_users_is_served_as_if_there_were_none(fitted):
    assert serving(fitted, "21+") == {"item_knn": 1.0}
    alone = fit(router(), cases=None)
    assert [serving(alone, name) for name in SLICES] == [{"demographics": 1.0}] + [
        {"item_knn": 1.0}
    ] * 3
    few = fit(router(min_users=1000))
    assert [serving(few, name) for name in SLICES] == [serving(alone, name) for name in SLICES]


def test_the_router_is_on_other_users_no_worse_than_its_members(fitted):
    from augrec.evaluation.metrics import evaluate

    fresh = cases(200, seed=9).with_columns(moment=None)

    def mean(model: Recommender) -> float:
        return float(np.mean(evaluate(model, fresh, [10])["ndcg@10"].to_numpy()))

    assert mean(fitted) >= max(mean(member.model) for member in fitted._members) - 0.002


def test_users_in_one_batch_are_each_served_by_their_own_slice(fitted):
    lists = [[], ["i01"], IDS[:8], IDS[:25]]
    together = fitted.recommend(asked(*lists), 10)
    for row, history in enumerate(lists):
        alone = fitted.recommend(asked(history), 10)
        assert (alone[0][0] == together[0][row]).all()


def test_items_the_catalogue_lacks_do_not_make_a_history_longer(fitted):
    weird = fitted.recommend(asked(["i01", *[f"x{place}" for place in range(30)]]), 10)
    assert (weird[0] == fitted.recommend(asked(["i01"]), 10)[0]).all()


def test_a_lone_member_scores_as_if_there_were_no_router():
    alone = fit(router([{"ease": {"l2": 30}}]))
    ease = find("ease")({"l2": 30}).fit(TrainingData(training()[0]))
    for ours, theirs in zip(
        alone.recommend(asked(["i01", "i07"]), 9),
        ease.recommend(asked(["i01", "i07"]), 9),
        strict=True,
    ):
        assert (ours == theirs).all()


def test_members_of_one_name_get_different_labels_and_survive_saving(tmp_path: Path):
    model = fit(router([{"item_knn": {"neighbours": 2}}, {"item_knn": {"neighbours": 20}}]))
    assert [member.label for member in model._members] == ["item_knn", "item_knn_2"]
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert [member.model.config.neighbours for member in loaded._members] == [2, 20]
    assert loaded.choices() == model.choices()
    assert (loaded.recommend(asked(["i03"]), 9)[1] == model.recommend(asked(["i03"]), 9)[1]).all()


def test_choices_are_reported_in_words_and_numbers(fitted):
    told = json.loads(json.dumps(fitted.choices()))
    assert set(told["slices"]) == set(SLICES)
    assert told["slices"]["0"]["n_users"] == 60
    assert set(told["slices"]["0"]["ndcg@10"]) == {"popularity", "demographics", "item_knn"}
    assert told["slices"]["21+"]["ndcg@10"] == {}
    for name in ("0", "1-5", "6-20", "21"):
        assert (
            sum(v for key, v in fitted.describe().items() if key.startswith(f"percent_{name}_"))
            == 100
        )


def test_a_member_that_cannot_train_here_is_left_out_and_reported():
    model = fit(router([*MEMBERS, {"content": {}}, {"ease": {"max_items": 5}}]))
    assert list(model.choices()["left_out"]) == ["content", "ease"]
    assert "items table" in model.choices()["left_out"]["content"]
    with pytest.raises(InputError, match="items table"):
        fit(router([{"content": {}}]))


def test_the_members_hold_every_family():
    default = find("router")().config
    kinds = {name for member in default.members for name in member}
    assert kinds >= {
        "popularity",
        "demographics",
        "content",
        "item_knn",
        "ease",
        "ials",
        "multvae",
        "sasrec",
    }


def test_new_items_are_ranked_by_the_member_that_validation_users_prefer(tmp_path: Path):
    kinds = [f"kind {place % N_TASTES}" for place in range(N_ITEMS)] + [
        f"kind {n % N_TASTES}" for n in range(8)
    ]
    items = pl.DataFrame(
        {
            "item_id": IDS + [f"new{n}" for n in range(8)],
            "title": [f"word{place % 5}" for place in range(N_ITEMS)] + ["word0", "word1"] * 4,
            "categories": [[kind] for kind in kinds],
        }
    )
    by_title = {"title": 1.0, "categories": 0.0, "max_new_items": 8}
    by_kind = {"title": 0.0, "categories": 1.0, "max_new_items": 8}
    members = [{"popularity": {}}, {"content": by_title}, {"content": by_kind}]
    asked_for = pl.DataFrame(
        {
            "user_id": [f"v{user}" for user in range(20)],
            "history": [[IDS[user % N_ITEMS]] for user in range(20)],
            "targets": [
                [f"new{user % N_TASTES}", f"new{user % N_TASTES + 4}"] for user in range(20)
            ],
        }
    )
    model = fit(
        router(members, new_item_shares=[0.0, 0.2, 0.5]), items=items, cases=asked_for, users=None
    )
    chosen = model.choices()["slices"]
    assert (chosen["1-5"]["new_item_share"], chosen["1-5"]["new_items_by"]) == (0.5, "content_2")
    assert (chosen["0"]["new_item_share"], chosen["0"]["new_items_by"]) == (0.0, None)
    why = model.explain(asked(["i02"]), np.array([["new2", "new1"]]), top=1)
    assert why.filter(pl.col("kind") == "item").select("item_id", "because").rows() == [
        ("new2", "i02")
    ]
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.choices() == model.choices()
    assert (loaded.recommend(asked(["i02"]), 9)[0] == model.recommend(asked(["i02"]), 9)[0]).all()


def test_what_a_package_that_is_not_there_would_do_is_not_left_out_in_silence():
    items = pl.DataFrame(
        {"item_id": IDS, "title": [f"word {item % 4} {item % 3}" for item in range(N_ITEMS)]}
    )
    with pytest.raises(ConfigError, match="cannot be imported"):
        fit(router([*MEMBERS, {"content": {"embeddings": "no_such_package"}}]), items=items)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"members": []}, "one recommender"),
        ({"members": [{"ease": {}, "ials": {}}]}, "one recommender"),
        ({"members": [{"router": {}}]}, "cannot hold a router"),
        ({"members": [{"oracle": {}}]}, "no recommender called 'oracle'"),
        ({"members": [{"ease": {"no_such_option": 1}}]}, "no_such_option"),
        ({"blend_weights": [1.0]}, "between 0 and 1"),
    ],
)
def test_impossible_members_are_refused_before_anything_is_fitted(config, problem):
    with pytest.raises(ConfigError, match=problem):
        find("router")(config)


def test_a_router_with_a_neural_member_continues_it_and_learns_the_rest_anew():
    small = {"hidden": 8, "latent": 4, "steps": 6, "eval_every": 3}
    first = fit(router([{"ease": {}}, {"multvae": small}]), cases=None)
    again = fit(router([{"ease": {}}, {"multvae": small}]), cases=None, previous=first)
    assert again.continues == find("multvae")(small).continues
    for before, after in zip(first._members, again._members, strict=True):
        same = before.model._state()
        assert all(
            np.array_equal(same[key], array) for key, array in after.model._state().items()
        ) == (not before.model.continues)


def test_a_router_can_hold_every_other_recommender(tmp_path: Path):
    loop = {"steps": 4, "eval_every": 2, "batch_size": 16}
    quick: dict[str, dict[str, Any]] = {
        "bpr": {"factors": 4, **loop},
        "gru4rec": {"factors": 4, "hidden": 4, **loop},
        "ials": {"factors": 4, "epochs": 2},
        "mmoe": {"factors": 4, "experts": 2, "hidden": 4, **loop},
        "multvae": {"hidden": 8, "latent": 2, **loop},
        "recvae": {"hidden": 8, "latent": 2, **loop},
        "sasrec": {"factors": 4, "blocks": 1, "heads": 1, **loop},
    }
    names = [name for name in available("augrec.recommenders") if name != "router"]
    items = pl.DataFrame(
        {"item_id": IDS, "categories": [[f"kind {item % 4}"] for item in range(N_ITEMS)]}
    )
    model = fit(router([{name: quick.get(name, {})} for name in names], max_blended=1), items=items)
    assert [member.label for member in model._members] == names
    model._routes.weights[:] = 1 / len(names)
    model.save(tmp_path / "model")
    for ours, theirs in zip(
        model.recommend(asked(["i03", "i09"], []), 9),
        load(tmp_path / "model").recommend(asked(["i03", "i09"], []), 9),
        strict=True,
    ):
        assert (ours == theirs).all()
    why = model.explain(asked(["i03", "i09"]), np.array([["i07"]]))
    assert {"i03", "i09"} >= set(why.filter(pl.col("kind") == "item")["because"]) != set()


def test_curves_of_members_are_logged_under_their_names():
    curve: list[dict[str, float]] = []
    members = [{"popularity": {}}, {"ials": {"factors": 3, "epochs": 2}}]
    fit(router(members), log=lambda row: curve.append(dict(row)))
    assert [set(row) for row in curve] == [{"step", "ials.change"}] * 2


def test_wrong_inputs_give_defined_results():
    model = fit(router(), cases=cases().clear())
    assert serving(model, "0") == {"demographics": 1.0}
    items, scores = model.recommend(
        asked([], ["nobody knows"]),
        5,
        user_features=pl.DataFrame({"town": [None, "nowhere"]}, schema={"town": pl.String}),
    )
    assert items.shape == (2, 5)
    assert np.isfinite(scores).all()
    equal = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "y"]})
    flat = router([{"popularity": {}}, {"item_knn": {}}]).fit(TrainingData(equal))
    flat._routes.weights[:] = 0.5
    items, scores = flat.recommend(asked([], ["x"]), 2)
    assert items.tolist() == [["x", "y"], ["y", ""]]
    assert scores[0].tolist() == [0, 0]


def test_noise_does_not_displace_the_simplest():
    random = np.random.default_rng(0)
    simple = random.random(50)
    lucky = np.stack([simple, simple + random.normal(0, 1, 50)])
    lucky[1] += simple.mean() + 0.01 - lucky[1].mean()
    assert simplest_of_the_best(lucky, caution=1.0) == 0
    assert simplest_of_the_best(lucky, caution=0.0) == 1
    assert simplest_of_the_best(np.stack([simple, simple + 0.01]), caution=1.0) == 1
    assert simplest_of_the_best(np.stack([simple, simple, simple]), caution=0.0) == 0


def test_the_best_of_many_that_are_all_alike_gains_nothing_honestly():
    random = np.random.default_rng(1)
    told, seen = [], []
    for seed in range(200):
        baseline, candidates = random.normal(0, 1, 40), random.normal(0, 1, (30, 40))
        told.append(honest_gain(candidates, baseline, seed).mean())
        seen.append(candidates.mean(1).max() - baseline.mean())
    assert abs(np.mean(told)) < 0.05
    assert np.mean(seen) > 0.2


def test_a_real_gain_is_found():
    random = np.random.default_rng(2)
    baseline = random.random(60)
    candidates = np.stack([baseline - 0.1, baseline + 0.05 + random.normal(0, 0.02, 60)])
    assert beats(honest_gain(candidates, baseline, 0), caution=2.0)
    assert not beats(baseline - baseline, caution=0.0)
