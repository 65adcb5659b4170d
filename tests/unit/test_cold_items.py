"""New items without interactions: content ranks them by their texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import ConfigError
from augrec.data.histories import Histories, ItemIndex
from augrec.data.ranking import top_k
from augrec.data.training_data import TrainingData
from augrec.recommenders._router.new_items import insert_new_items
from augrec.recommenders.base import Recommender, find, load

KINDS = ["drama", "comedy", "horror"]
BOUGHT = pl.DataFrame(
    {
        "user_id": [f"u{user}" for user in range(30) for _ in range(3)],
        "item_id": [f"old{(user + 3 * step) % 9}" for user in range(30) for step in range(3)],
    }
)


def shop(n_new: int = 6) -> pl.DataFrame:
    ids = [f"old{place}" for place in range(9)] + [f"new{place}" for place in range(n_new)]
    kinds = [KINDS[place % 3] for place in range(9)] + [KINDS[place % 3] for place in range(n_new)]
    return pl.DataFrame(
        {
            "item_id": ids,
            "title": [f"A {kind} story" for kind in kinds],
            "categories": [[k] for k in kinds],
        }
    )


def content(**config: object) -> Recommender:
    return find("content")({"popularity_blend": 0.1, **config}).fit(
        TrainingData(BOUGHT, items=shop())
    )


def best(fitted: Recommender, history: list[str], k: int = 4) -> list[str]:
    return fitted.recommend(pl.Series([history], dtype=pl.List(pl.String)), k)[0][0].tolist()


def test_a_new_item_is_recommended_to_those_who_like_its_kind():
    fitted = content(max_new_items=10)
    assert len(fitted.items) == 15
    assert set(best(fitted, ["old0"])) == {"old3", "old6", "new0", "new3"}


def test_new_items_are_left_out_unless_asked_for():
    assert fitted_ids(content()) == {f"old{place}" for place in range(9)}


def fitted_ids(fitted: Recommender) -> set[str]:
    return set(fitted.items.ids.tolist())


def test_no_more_new_items_are_taken_than_allowed_the_last_of_the_table_first():
    assert {item for item in fitted_ids(content(max_new_items=2)) if item.startswith("new")} == {
        "new4",
        "new5",
    }


def test_a_new_item_without_a_word_is_not_taken():
    silent = pl.DataFrame(
        {"item_id": ["silent", None], "title": [None, "a title"]},
        schema_overrides={"title": pl.String},
    )
    items = pl.concat([shop(), silent], how="diagonal")
    fitted = find("content")({"max_new_items": 100}).fit(TrainingData(BOUGHT, items=items))
    assert fitted_ids(fitted) == set(shop()["item_id"])


def test_users_without_a_history_get_new_items_last():
    fitted = content(max_new_items=10)
    assert (
        fitted.popularity[[item.startswith("new") for item in fitted.items.ids.tolist()]] == 0
    ).all()
    assert all(item.startswith("new") for item in best(fitted, [], 15)[9:])


def test_a_history_of_new_items_only_is_served_by_their_words():
    assert set(best(content(max_new_items=10), ["new1"])) == {"old1", "old4", "old7", "new4"}


def test_new_items_survive_saving(tmp_path: Path):
    fitted = content(max_new_items=10)
    fitted.save(tmp_path / "model")
    assert best(load(tmp_path / "model"), ["old2"], 15) == best(fitted, ["old2"], 15)


def test_a_router_recommends_what_any_of_its_members_can():
    members = [{"content": {"max_new_items": 10, "popularity_blend": 0.1}}, {"ease": {}}]
    fitted = find("router")({"members": members}).fit(TrainingData(BOUGHT, items=shop()))
    assert len(fitted.items) == 15
    assert set(best(fitted, ["old0"], 8)) == {
        f"old{place}" for place in range(1, 9)
    }  # EASE serves, it knows no others
    fitted._routes.weights[:] = [0.9, 0.1]  # now both serve
    assert {"new0", "new3"} <= set(best(fitted, ["old0"]))


MODULE = '''
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def encode(texts):
    """Counts of letters."""
    return [[text.lower().count(letter) for letter in LETTERS] for text in texts]
'''


@pytest.fixture
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package for embeddings that happens to be installed."""
    (tmp_path / "letters_for_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "letters_for_test"


def test_any_installed_module_can_embed_the_texts(letters):
    items = pl.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "title": ["melon lemon", "lemon melons", "brick", "lemon brick"],
        }
    )
    rows = pl.DataFrame({"user_id": list("wxyz"), "item_id": list("abcd")})
    config = {"embeddings": letters, "embedding_share": 1.0, "popularity_blend": 0.0}
    fitted = find("content")(config).fit(TrainingData(rows, items=items))
    assert best(fitted, ["a"], 3) == ["b", "d", "c"]
    counts = np.array(
        [[title.count(chr(97 + place)) for place in range(26)] for title in items["title"]], float
    )
    counts -= counts.mean(0)
    counts /= np.linalg.norm(counts, axis=1, keepdims=True)
    _, values = fitted.recommend(pl.Series([["a"]]), 3)
    assert values[0].tolist() == pytest.approx((counts @ counts[0])[[1, 3, 2]].tolist(), abs=1e-6)


def test_words_and_vectors_are_mixed_and_explained(letters, tmp_path: Path):
    fitted = content(embeddings=letters, embedding_share=0.3, max_new_items=3, popularity_blend=0.0)
    words, vectors = (
        content(max_new_items=3, popularity_blend=0.0),
        content(embeddings=letters, embedding_share=1.0, max_new_items=3, popularity_blend=0.0),
    )
    asked = pl.Series([["old0", "old1"]])
    tables = [model.recommend(asked, 12, exclude_seen=False) for model in (fitted, words, vectors)]
    mixed, of_words, of_vectors = (dict(zip(i[0], s[0], strict=True)) for i, s in tables)
    for item, score in mixed.items():
        assert score == pytest.approx(0.7 * of_words[item] + 0.3 * of_vectors[item], abs=1e-5)
    histories = Histories.from_lists(asked, fitted.items)
    shares = fitted.contributions(histories, np.arange(12)[None])
    assert shares.sum(0).tolist() == pytest.approx(
        [mixed[item] for item in fitted.items.ids], abs=1e-5
    )
    fitted.save(tmp_path / "model")
    assert best(load(tmp_path / "model"), ["old2"], 12) == best(fitted, ["old2"], 12)


def test_a_package_that_holds_its_model_is_asked_to_load_it(letters, tmp_path: Path):
    lines = ["import letters_for_test", "def load_model(): return letters_for_test"]
    (tmp_path / "model_for_test.py").write_text("\n".join(lines))
    first, second = content(embeddings=letters), content(embeddings="model_for_test")
    assert best(first, ["old1"], 9) == best(second, ["old1"], 9)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (None, "cannot be imported"),
        ("", "offers no encode"),
        ("def encode(texts): return [1, 2]", "vectors of finite numbers"),
        ("def encode(texts): return [[float('nan')] for _ in texts]", "vectors of finite numbers"),
        ("class SentenceTransformer: pass", "not a folder"),
        ("class StaticModel: pass", "not a folder"),
    ],
)
def test_a_package_that_cannot_embed_is_refused(
    source, problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = f"embedder_{abs(hash((source, problem)))}"
    if source is not None:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=problem):
        content(embeddings=name, embedding_model="all-MiniLM-L6-v2")


def room(share: float, said: list[float]) -> list[int]:
    """The order of ten items met, best first, of which the first is in the history, and of new
    ones, 10 … 10 + n."""
    table = np.array([[*range(10, 0, -1), *[0.0] * len(said)]], np.float32)
    histories = Histories.from_lists(
        pl.Series([["a"]]), ItemIndex([chr(97 + place) for place in range(10 + len(said))])
    )
    new = np.arange(10, 10 + len(said))
    table = insert_new_items(table, histories, new, np.array([said], np.float32), share)
    table[0, 0] = -np.inf
    return top_k(table, len(table[0]))[0][0].tolist()


def test_every_so_manieth_place_goes_to_the_new_items_content_says_most_for():
    assert room(0.25, [0.1, 0.9, 0.5])[:-1] == [1, 2, 3, 11, 4, 5, 6, 12, 7, 8, 9, 10]
    assert room(0.5, [0.1, 0.9, 0.5])[:6] == [1, 11, 2, 12, 3, 10]


def test_new_items_of_which_content_says_nothing_come_last():
    assert room(0.5, [0.0, 0.7, 0.0])[:3] == [1, 11, 2]
    assert set(room(0.5, [0.0, 0.7, 0.0])[-3:]) == {0, 10, 12}
    assert room(0.9, [0.0, 0.0])[:9] == list(range(1, 10))


def test_a_user_who_has_nearly_everything_still_gets_the_new_items():
    table = np.array([[3.0, 2.0, 1.0, 0.0]], np.float32)
    index = ItemIndex(["a", "b", "c", "d"])
    histories = Histories.from_lists(pl.Series([["a", "b", "c"]]), index)
    with np.errstate(invalid="raise"):
        found = insert_new_items(
            table, histories, np.array([3]), np.array([[0.5]], np.float32), 0.5
        )
    assert np.isfinite(found).all() and found.argmin() == 3


def with_share(*shares: float, **given: pl.DataFrame) -> Recommender:
    members = [{"content": {"max_new_items": 10, "popularity_blend": 20.0}}, {"ease": {}}]
    config = {"members": members, "new_item_shares": list(shares), "min_users": 5}
    return find("router")(config).fit(TrainingData(BOUGHT, items=shop(), **given))


def test_a_router_gives_new_items_their_share_and_none_to_users_without_a_history():
    fitted = with_share(0.5)
    assert set(best(fitted, ["old0"], 2)) == {"old3", "old6"}  # EASE likes both alike
    assert best(fitted, ["old0"], 4)[2:] == ["new0", "new3"]
    assert set(best(with_share(0.0), ["old0"], 8)) == {f"old{place}" for place in range(1, 9)}
    assert all(item.startswith("old") for item in best(fitted, [], 9))


@pytest.mark.parametrize(("wanted", "share"), [("new", 0.5), ("old", 0.0)])
def test_the_share_is_chosen_by_what_validation_users_wanted(wanted, share, tmp_path: Path):
    cases = pl.DataFrame(
        {
            "user_id": [f"v{user}" for user in range(9)],
            "slice": "1-5",
            "history": [[f"old{user}"] for user in range(9)],
            "targets": [[f"{wanted}{user % 3}", f"{wanted}{user % 3 + 3}"] for user in range(9)],
        }
    )
    fitted = with_share(0.0, 0.5, cases=cases)
    assert fitted.choices()["slices"]["1-5"]["new_item_share"] == share
    fitted.save(tmp_path / "model")
    assert load(tmp_path / "model").choices() == fitted.choices()


@pytest.mark.parametrize("shares", [[], [1.0], [-0.1]])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ConfigError, match="shares of a list"):
        find("router")({"new_item_shares": shares})
