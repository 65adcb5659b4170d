"""Taste groups: planted tastes are found, and what serves them keeps its promises."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score

from augrec.core.errors import InputError
from augrec.data.columns import TIME
from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData
from augrec.recommenders._taste.clusters import NO_GROUP, k_means, nearest, same_names
from augrec.recommenders._taste.content import content_vectors
from augrec.recommenders._taste.live import LiveTastes
from augrec.recommenders._taste.tastes import Tastes
from augrec.recommenders.group_gan import GroupGan

TASTES, USERS, ITEMS = 4, 240, 40
SMALL = {
    "groups": TASTES,
    "width": 16,
    "hidden": 24,
    "latent": 8,
    "critic_hidden": 8,
    "content_width": 16,
    "batch_size": 60,
    "steps": 120,
    "eval_every": 60,
    "learning_rate": 0.01,
}


def planted(seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Users of four tastes, each with ten items that it takes half of and others that it hardly
    takes; and the taste of each user."""
    random = np.random.default_rng(seed)
    tastes = np.arange(USERS) % TASTES
    likes = np.where(tastes[:, None] == np.arange(ITEMS) % TASTES, 0.5, 0.03)
    users, items = np.nonzero(random.random((USERS, ITEMS)) < likes)
    times = random.permutation(len(users)) * 60_000_000
    table = pl.DataFrame(
        {
            "user_id": [f"u{user:03}" for user in users],
            "item_id": [f"i{item:02}" for item in items],
            "timestamp": pl.Series(times, dtype=pl.Datetime("us")).cast(TIME),
        }
    )
    return table, tastes


CATALOGUE = pl.DataFrame(
    {
        "item_id": [f"i{item:02}" for item in range(ITEMS)],
        "categories": [[f"taste {item % TASTES}"] for item in range(ITEMS)],
    }
)


@pytest.fixture(scope="module")
def fitted() -> GroupGan:
    return GroupGan(SMALL, seed=1).fit(TrainingData(planted()[0], items=CATALOGUE))


def blobs(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % k
    return 10 * np.eye(k)[labels] + random.standard_normal((n, k)), labels


def histories(*lists: list[str]) -> pl.Series:
    return pl.Series(list(lists), dtype=pl.List(pl.String))


def test_the_groups_are_the_planted_tastes(fitted):
    table, tastes = planted()
    known = Histories.from_interactions(table, fitted.items)
    of = {f"u{user:03}": taste for user, taste in enumerate(tastes)}
    found, _ = fitted.memberships(known)
    assert adjusted_rand_score([of[user] for user in known.users], found) > 0.9


def test_a_group_is_named_by_what_sets_it_apart(fitted):
    groups = fitted.choices()["taste_groups"]
    assert sum(group["users"] for group in groups) == planted()[0]["user_id"].n_unique()
    assert len({group["name"] for group in groups}) == len(groups) == TASTES
    for group in groups:
        assert group["name"].startswith(f"people who like {group['categories'][0]}")
        kinds = {int(item[1:]) % TASTES for item in group["items"]}
        assert kinds == {int(group["categories"][0][-1])}


def test_newcomers_join_the_group_of_their_taste_and_change_it_with_what_they_do(fitted):
    by_taste = [[f"i{item:02}" for item in range(taste, ITEMS, TASTES)] for taste in range(TASTES)]

    def group(history: list[str]) -> int:
        known = Histories.from_lists(histories(history), fitted.items)
        return int(fitted.memberships(known)[0][0])

    homes = [group(items[:4]) for items in by_taste]
    assert len(set(homes)) == TASTES
    assert group(by_taste[0][:2] + by_taste[1][:8]) == homes[1]
    moved, _ = fitted.recommend(histories(by_taste[0][:2] + by_taste[1][:8]), 2)
    assert set(moved[0]) == set(by_taste[1][8:])


def test_noise_drawn_anew_gives_other_scores_and_the_same_seed_the_same(fitted):
    known = Histories.from_lists(histories(["i00", "i04"], ["i01"]), fitted.items)
    one, again, other = (fitted.varied(known, seed) for seed in (1, 1, 2))
    assert (one == again).all()
    assert not np.allclose(one, other)


def test_averaging_over_noise_does_not_depend_on_who_is_asked_with(fitted):
    averaging = GroupGan(SMALL | {"draws": 4}, seed=1)
    averaging._restore(fitted._state())
    both, _ = averaging.recommend(histories(["i00", "i04"], ["i01"]), 10)
    alone, _ = averaging.recommend(histories(["i01"]), 10)
    assert (both[1] == alone[0]).all()


@pytest.mark.parametrize(
    "left_out",
    [
        {"vae": False},
        {"gan": False},
        {"live": False},
        {"content": False},
        {"grouping": "random"},
        {"grouping": "none"},
        {"vae": False, "gan": False},
    ],
)
def test_each_part_can_be_left_out(left_out):
    model = GroupGan(SMALL | left_out | {"steps": 20}, seed=1)
    items, scores = model.fit(TrainingData(planted()[0], items=CATALOGUE)).recommend(
        histories(["i00"]), 5
    )
    assert len(set(items[0])) == 5 and np.isfinite(scores).all()


def test_a_users_vector_moves_with_each_event_to_where_the_whole_history_puts_it(fitted):
    live, history = LiveTastes(fitted), ["i00", "i01", "i04", "no such item", "i08", "i12"]
    for place, item in enumerate(history):
        group = live.apply("a", item, history[:place])
        known = Histories.from_lists(histories(history[: place + 1]), fitted.items)
        here = live._users["a"].vector
        np.testing.assert_allclose(here, fitted.user_vectors(known)[0], atol=1e-5)
        assert group == ((live.centres - here) ** 2).sum(1).argmin()


def test_who_left_memory_comes_back_from_the_stored_history_with_the_same_vector(fitted):
    live, history = LiveTastes(fitted, max_users=1), ["i00", "i04", "i01", "i08"]
    for place, item in enumerate(history):
        live.apply("a", item, history[:place])
    vector = live._users["a"].vector
    live.load("b", [])
    assert list(live._users) == ["b"]
    live.load("a", history)
    np.testing.assert_allclose(live._users["a"].vector, vector, atol=1e-5)


def test_the_same_events_after_a_restart_give_the_same_groups(fitted):
    random = np.random.default_rng(0)
    events = [(f"u{random.integers(9)}", f"i{item:02}") for item in random.permutation(ITEMS)]

    def follow() -> LiveTastes:
        live, known = LiveTastes(fitted), {}
        for user, item in events:
            live.apply(user, item, known.setdefault(user, []))
            known[user].append(item)
        return live

    assert (follow().centres == follow().centres).all()
    assert (follow().centres != fitted.centres()).any()


def test_events_change_the_group_and_move_the_groups_vector(fitted):
    live = LiveTastes(fitted)
    before = live.load("a", ["i00", "i04"])
    assert live.apply("a", "i08") == before
    assert (live.centres[before] != fitted.centres()[before]).any()
    others = [group for group in range(TASTES) if group != before]
    assert (live.centres[others] == fitted.centres()[others]).all()
    for item in range(1, ITEMS, TASTES):
        after = live.apply("a", f"i{item:02}")
    assert after != before


def test_a_model_that_follows_scores_with_the_groups_as_they_are_now(fitted):
    known = Histories.from_lists(histories(["i00", "i04"]), fitted.items)
    learnt = fitted.score(known)
    fitted.live = LiveTastes(fitted)
    try:
        np.testing.assert_array_equal(fitted.score(known), learnt)
        group = int(fitted.memberships(known)[0][0])
        fitted.live.centres[group] = 100  # nobody is near it now
        assert int(fitted.memberships(known)[0][0]) != group
        assert not np.allclose(fitted.score(known), learnt)
    finally:
        fitted.live = None


def test_memory_holds_no_more_users_than_asked_for_and_as_much_of_each_whatever_they_do(fitted):
    live = LiveTastes(fitted, max_users=5)
    for number in range(60):
        live.apply(f"u{number % 20}", f"i{number % ITEMS:02}")
    assert len(live) == 5
    one = live._users["u19"]
    assert one.total.numel() == one.state.numel() == one.vector.size == SMALL["width"]
    with pytest.raises(InputError, match="at most 0 users"):
        LiveTastes(fitted, max_users=0)


def test_k_means_finds_planted_blobs_whole_and_by_mini_batches():
    for n in (200, 30_000):
        points, labels = blobs(n, 5)
        assert adjusted_rand_score(labels, k_means(points, 5, 0).labels) > 0.99


def test_groups_without_users_and_tiny_groups_do_not_remain():
    points, _ = blobs(200, 4)
    points = np.concatenate([points, [[200.0, 0, 0, 0]]])
    assert len(k_means(points, 5, 0, smallest=5).centres) == 4
    far = np.full((3, 4), 1e4, np.float32)
    assert (k_means(points, 3, 0, start=far).sizes > 0).all()
    alike = k_means(np.ones((7, 2)), 3, 0)
    assert alike.sizes.tolist() == [7]
    assert len(k_means(points[:2], 9, 0, smallest=10).centres) == 1


def test_no_users_no_groups_and_numbers_that_are_none_are_refused():
    for points, k in ((np.zeros((0, 2)), 3), (np.ones((4, 2)), 0), (np.full((4, 2), np.nan), 2)):
        with pytest.raises(InputError, match="cannot be put into"):
            k_means(points, k, 0)


def test_groups_keep_their_names_from_run_to_run():
    points, _ = blobs(200, 4)
    old = k_means(points, 4, 0).centres
    new = k_means(points + 0.1, 4, 9).centres
    names = same_names(new, old)
    assert (np.linalg.norm(new - old[names], axis=1) < 1).all()
    more = same_names(np.concatenate([new[::-1], 99 * np.ones((1, 4))]), old)
    assert sorted(more) == [0, 1, 2, 3, 4] and more[-1] == 4
    assert nearest(points[:1], old)[0].shape == (1,)


def test_groups_of_shuffled_profiles_agree_with_tastes_no_more_often_than_chance():
    """100 times each item's users are drawn anew: popularity stays, taste does not."""
    table, _ = planted()
    known = Histories.from_interactions(table, ItemIndex(table["item_id"]))
    profiles, random = known.matrix().toarray(), np.random.default_rng(5)
    tastes = np.array([int(user[1:]) % TASTES for user in known.users])
    assert adjusted_rand_score(tastes, k_means(profiles, TASTES, 0).labels) > 0.9
    chance = [adjusted_rand_score(tastes, random.permutation(tastes)) for _ in range(1000)]
    found = [k_means(random.permuted(profiles, axis=0), TASTES, seed).labels for seed in range(100)]
    agree = np.array([adjusted_rand_score(tastes, labels) for labels in found])
    # nominally 5 of 100; more than 11 has a chance of 0.4 %
    assert (agree > np.quantile(chance, 0.95)).sum() <= 11


def test_content_is_alike_where_words_are_and_nothing_where_nothing_is_known():
    index = ItemIndex(["a", "b", "c", "d"])
    items = pl.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "title": ["Space war", "War in space", "A garden"],
            "price": [1.0, float("nan"), None],
        }
    )
    vectors = content_vectors(items, index, 64)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert not vectors[3].any()
    assert (vectors == content_vectors(items.reverse(), index, 64)).all()
    assert not content_vectors(None, index, 64).any()


NAMED = {"groups": TASTES, "width": 16, "steps": 200}


@pytest.fixture(scope="module")
def tastes() -> Tastes:
    return Tastes(NAMED, seed=1).fit(TrainingData(planted()[0], items=CATALOGUE))


def test_groups_found_by_the_features_alone_are_the_planted_tastes(tastes):
    table, planted_tastes = planted()
    known = Histories.from_interactions(table, tastes.items)
    places, away = tastes.places(known)
    of = [planted_tastes[int(user[1:])] for user in known.users]
    assert adjusted_rand_score(of, places) > 0.9
    assert np.isfinite(away).all() and tastes.numbers.tolist() == list(range(TASTES))
    assert sum(group["users"] for group in tastes.as_json()) == len(known)


def test_who_has_done_nothing_has_no_group(tastes):
    known = Histories.from_lists(histories([], ["unheard of"], ["i00", "i04"]), tastes.items)
    places, away = tastes.places(known)
    assert places[:2].tolist() == [NO_GROUP, NO_GROUP] and np.isnan(away[:2]).all()
    assert tastes.labels(known)[:2] == [None, None] and tastes.labels(known)[2] is not None


def test_another_fit_keeps_the_numbers_of_the_groups(tastes):
    data = TrainingData(planted(seed=3)[0], items=CATALOGUE)
    again = Tastes(NAMED, seed=9).fit(data, tastes)
    likes = {place: set(group["categories"]) for place, group in enumerate(tastes.as_json())}
    for group in again.as_json():
        assert likes[group["group"]] & set(group["categories"])
    fewer = Tastes(NAMED | {"groups": 3}, seed=1).fit(data, again)
    assert len(fewer.numbers) == 3 and set(fewer.numbers) <= set(range(TASTES))
    more = Tastes(NAMED | {"groups": 6, "min_group_users": 1}, seed=1).fit(data, fewer)
    assert set(fewer.numbers) <= set(more.numbers)


def test_of_several_numbers_validation_users_choose_the_planted_one():
    table, _ = planted()
    cases = pl.DataFrame(
        {
            "history": [[f"i{item:02}" for item in range(t, ITEMS - 8, 4)] for t in range(TASTES)],
            "targets": [[f"i{ITEMS - 8 + t:02}", f"i{ITEMS - 4 + t:02}"] for t in range(TASTES)],
        }
    )
    data = TrainingData(table, items=CATALOGUE, cases=cases)
    assert len(Tastes(NAMED | {"groups": [1, TASTES]}, seed=1).fit(data).numbers) == TASTES


def test_over_another_catalogue_the_groups_are_the_same(tastes, tmp_path):
    lists = histories(["i00", "i04", "i01"], ["i03", "i07"])
    own = tastes.places(Histories.from_lists(lists, tastes.items))
    wider = ItemIndex(["a new item", "i00", "i01", "i03", "i04", "i07"])
    with_new = histories(["i00", "a new item", "i04", "i01"], ["i03", "i07"])
    found = tastes.over(wider).places(Histories.from_lists(with_new, wider))
    np.testing.assert_array_equal(own[0], found[0])
    np.testing.assert_allclose(own[1], found[1], rtol=1e-5)
    tastes.save(tmp_path / "tastes")
    loaded = Tastes.load(tmp_path / "tastes")
    np.testing.assert_array_equal(
        loaded.places(Histories.from_lists(lists, loaded.items))[1], own[1]
    )
    assert loaded.as_json() == tastes.as_json()
