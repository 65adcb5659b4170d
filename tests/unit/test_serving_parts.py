"""The service's parts by themselves: ranking, time-outs, assignment, the logs and what is made of
them."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from serving_project import fitted, interactions

from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.core.seeds import rng
from augrec.data.ranking import top_k
from augrec.features.live_features import advance
from augrec.features.schema import FeaturesConfig, schema_of
from augrec.serving.ab_report import compare
from augrec.serving.answer_log import AnswerLog
from augrec.serving.batching import Ranker
from augrec.serving.config import AnswerLogConfig, RolloutConfig
from augrec.serving.event_log import EventLog, StoredEvent
from augrec.serving.item_metadata import ItemMetadata
from augrec.serving.model import Model, check
from augrec.serving.online_features import OnlineFeatures
from augrec.serving.ranking import Query, attribute_table, rank, top_k_of_row
from augrec.serving.rollout import side
from augrec.serving.security import new_key, read_keys


def test_the_best_are_cut_out_as_everywhere_else_ties_included() -> None:
    draw = rng(1, "cut")
    for n, k in ((1, 1), (30, 7), (30, 30), (500, 20)):
        scores = draw.integers(0, 9, n).astype(np.float32)
        expected, values = top_k(scores[None], k)
        found, known = top_k_of_row(scores, k)
        assert found.tolist() == expected[0].tolist() and known.tolist() == values[0].tolist()


def test_little_memory_gives_the_same_lists() -> None:
    model = Model.of(fitted())
    queries = [
        Query([f"i{n:02}", f"i{(7 * n) % 20:02}"], 5, exclude=np.array([n])) for n in range(20)
    ]
    for one, all_ in zip(
        rank(model.recommender, model.places, queries, {}, 1),
        rank(model.recommender, model.places, queries, {}, 10**6),
        strict=True,
    ):
        assert one[0].tolist() == all_[0].tolist()


def test_requests_ranked_together_get_what_each_would_alone() -> None:
    model, sizes = Model.of(fitted()), []
    users = (
        interactions().group_by("user_id", maintain_order=True).agg("item_id")["item_id"].to_list()
    )
    queries = [Query(history, 3 + place % 4) for place, history in enumerate(users)]

    async def together() -> list[Any]:
        ranker = Ranker(8, 2**20, sizes.append)
        try:
            return await asyncio.gather(*(ranker.rank(model, query) for query in queries))
        finally:
            ranker.close()

    for query, (items, _) in zip(queries, asyncio.run(together()), strict=True):
        [(alone, _)] = rank(model.recommender, model.places, [query], {}, 2**20)
        assert items.tolist() == alone.tolist()
    assert max(sizes) > 1 and sum(sizes) == len(queries)


def test_what_a_client_says_of_a_user_becomes_the_column_s_type_or_null() -> None:
    kinds = {"age": pl.Int64(), "city": pl.String(), "member": pl.Boolean(), "weight": pl.Float32()}
    told = [
        {"age": "x", "city": 7, "other": 1},
        {"age": 10**30, "weight": "2.5", "member": "no"},
        {"age": "41"},
    ]
    table = attribute_table(told, kinds)
    assert table is not None and dict(table.schema) == kinds
    assert table["age"].to_list() == [None, None, 41] and table["city"].to_list() == [
        "7",
        None,
        None,
    ]
    assert (
        table["weight"].to_list() == [None, 2.5, None] and table["member"].to_list() == [None] * 3
    )
    assert attribute_table([{}, {"other": 1}], kinds) is None


def test_a_model_that_answers_nonsense_is_refused() -> None:
    recommender = fitted("popularity")
    recommender.popularity = np.full_like(recommender.popularity, np.nan)
    with pytest.raises(RefusedError, match="failed a check"):
        check(Model.of(recommender), [], 2**20)


def test_a_store_that_hangs_delays_no_request_and_is_used_again_when_it_answers() -> None:
    released = threading.Event()

    class Hanging:
        schema: dict = {}
        slots: list = []

        def read(self, users: list[str]) -> list[dict]:
            released.wait(30)
            return [{"user__interactions_total": 3} for _ in users]

        def write(self, rows: dict) -> None:
            released.wait(30)

    async def asked() -> tuple[list, dict | None]:
        features = OnlineFeatures(Hanging, timeout_s=0.05, max_age_s=60, max_users=10)  # type: ignore[arg-type]
        features.start()
        while features.state != "open":
            await asyncio.sleep(0.01)
        while_hanging = [await features.get(f"u{n}") for n in range(50)]
        released.set()
        found = None
        while found is None:
            found = await features.get("u1")
        features.close()
        return while_hanging, found

    while_hanging, found = asyncio.run(asked())
    assert while_hanging == [None] * 50 and found == {"user__interactions_total": 3}


def test_features_move_on_as_the_features_stage_would_count() -> None:
    schema = schema_of(FeaturesConfig(windows_days=(7, 30), max_categories=2))["user"]
    row: dict[str, Any] = {f"user__{name}": feature["fill"] for name, feature in schema.items()}
    for item, (categories, value) in enumerate([(["a"], 4.0), (["b", "c"], None), (["a"], 1.0)]):
        row = advance(
            row,
            schema,
            categories=categories,
            new_categories=len(categories) * (item < 2),
            slots=["a", "b"],
            value=value,
        )
    assert (
        row["user__interactions_7d"]
        == row["user__interactions_30d"]
        == row["user__interactions_total"]
        == 3
    )
    assert row["user__n_categories"] == 3 and row["user__days_since_last"] == 0.0
    assert row["user__category_shares"] == pytest.approx([2 / 3, 1 / 3])


def test_a_user_keeps_their_side_and_the_shares_are_as_said() -> None:
    split = RolloutConfig(mode="split", challenger_percent=25.0)
    users = [f"user {n}" for n in range(4000)]
    first = [side(user, split) for user in users]
    assert first == [side(user, split) for user in users]
    assert 0.22 < first.count("challenger") / len(users) < 0.28
    anew = [
        side(user, RolloutConfig(mode="split", challenger_percent=25.0, salt="2")) for user in users
    ]
    both = sum(one == other == "challenger" for one, other in zip(first, anew, strict=True)) / len(
        users
    )
    assert 0.04 < both < 0.09  # dealt independently: 1/16
    assert (
        {side(user, RolloutConfig(mode="shadow")) for user in users}
        == {side(None, split)}
        == {"champion"}
    )


def test_keys_are_kept_as_hashes_and_a_key_in_their_place_is_refused(tmp_path: Path) -> None:
    (key, hashed), (other, other_hash) = new_key(), new_key()
    (tmp_path / "keys").write_text(f"# shop\n{other_hash}  # the app\n")
    keys = read_keys({"AUGREC_API_KEYS": hashed, "AUGREC_API_KEYS_FILE": str(tmp_path / "keys")})
    assert (
        keys.admits(key)
        and keys.admits(other)
        and not keys.admits(hashed)
        and not keys.admits(None)
    )
    assert read_keys({}).admits(None)
    with pytest.raises(ConfigError, match="not SHA-256") as told:
        read_keys({"AUGREC_API_KEYS": key})
    assert key not in str(told.value)


def answers_of(folder: Path) -> list[dict]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_answers_are_logged_for_their_owner_alone_in_files_that_end(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path / "answers", AnswerLogConfig(segment_mb=0.001))
    for number in range(60):
        log.add({"answer_id": f"{number:08x}", "scores": np.ones(3, np.float32)})
    log.close()
    assert [int(one["answer_id"], 16) for one in answers_of(tmp_path / "answers")] == list(
        range(60)
    )
    files = list((tmp_path / "answers").iterdir())
    assert len(files) > 1 and all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


def test_a_share_of_the_answers_is_a_share(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path, AnswerLogConfig(share=0.3))
    draw = rng(2, "answers")
    ids = [f"{number:032x}" for number in draw.integers(0, 2**62, 4000)]
    kept = sum(log.sampled(one) for one in ids)
    log.close()
    assert 0.26 < kept / len(ids) < 0.34


def shown_and_clicked(folder: Path, rates: dict[str, float], users: int) -> tuple[Path, Path]:
    """An answer log and an event log: every user got five answers, and clicked with their side's
    rate."""
    draw = rng(3, "ab")
    log, stored = AnswerLog(folder / "answers", AnswerLogConfig()), []
    for role, rate in rates.items():
        for number in range(users * 5):
            answer_id = f"{role[:4]}{number:08x}"
            log.add(
                {
                    "answer_id": answer_id,
                    "at": "2026-01-01",
                    "kind": "assigned",
                    "user_id": f"{role}{number % users}",
                    "role": role,
                    "version": "1",
                    "items": ["a", "b"],
                }
            )
            if draw.random() < rate:
                stored.append(StoredEvent(answer_id, "x", "a", "click", None, 0, 0, answer_id, 1))
            stored.append(
                StoredEvent(f"{answer_id}-", "x", "elsewhere", "click", None, 0, 0, answer_id, 1)
            )
    log.close()
    events = EventLog(folder / "events.db")
    asyncio.run(told(events, stored))
    return folder / "answers", folder / "events.db"


async def told(events: EventLog, stored: list[StoredEvent]) -> None:
    await events.append(stored)
    events.close()


def test_a_better_challenger_is_found_and_its_interval_holds_the_truth(tmp_path: Path) -> None:
    found = compare(*shown_and_clicked(tmp_path, {"champion": 0.1, "challenger": 0.2}, users=300))
    assert found.click_through is not None and found.click_through.low > 0
    assert found.click_through.low < 0.1 < found.click_through.high
    assert found.sides["champion"].answers == 1500 and found.sides["champion"].users == 300
    assert found.sides["challenger"].conversion.value == 0.0


def test_equal_sides_are_not_distinguished(tmp_path: Path) -> None:
    found = compare(*shown_and_clicked(tmp_path, {"champion": 0.1, "challenger": 0.1}, users=300))
    assert (
        found.click_through is not None and found.click_through.low < 0 < found.click_through.high
    )


def test_without_answers_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no answer"):
        compare(tmp_path, tmp_path / "events.db")


def test_the_search_forgives_typing_errors_and_finds_nothing_for_nonsense() -> None:
    titles = ["Toy Story", "Story of a Stray", "The Godfather", "Alien", "Amélie", "O"]
    table = pl.DataFrame({"item_id": list("abcdef"), "title": titles}).with_columns(
        categories=pl.lit([], pl.List(pl.String))
    )
    metadata = ItemMetadata(table)

    def found(query: str) -> list[str | None]:
        return [metadata.title(item) for item in metadata.search(query, 9, lambda item: 0.0)]

    assert found("toy stroy") == ["Toy Story"]
    assert found("THE godfahter") == ["The Godfather"]
    assert "Amélie" in found("amelie")
    assert found("story") == ["Toy Story", "Story of a Stray"]
    assert found("xylophone") == found("xx") == []
