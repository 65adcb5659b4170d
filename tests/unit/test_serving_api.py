"""What the service answers, asked through its whole application; the model and the data are real
and small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import polars as pl
import pytest
from serving_project import (
    N_ITEMS,
    fitted,
    interactions,
    make_project,
    put_copy,
    recommended,
    running,
    tell,
)

from augrec.core.settings import Settings
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import find
from augrec.serving.security import ApiKeys, new_key

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = make_project(tmp_path / "shop")
    monkeypatch.setenv("AUGREC_HOME", str(settings.home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return settings


@pytest.fixture
async def client(project: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with running(project) as found:
        yield found


async def test_a_user_gets_what_the_recommender_itself_would_say(client: httpx.AsyncClient) -> None:
    model = fitted()
    for user in ("u00", "u07", "u31"):
        history = interactions().filter(pl.col("user_id") == user)["item_id"].to_list()
        expected, _ = model.recommend(pl.Series([history], dtype=pl.List(pl.String)), 6)
        assert await recommended(client, user_id=user, k=6) == expected[0].tolist()


async def test_an_answer_names_its_model_and_describes_its_items(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/recommendations", json={"user_id": "u00", "k": 3})
    told = answer.json()
    assert answer.headers["x-augrec-model"] == "1" and "x-augrec-degraded" not in answer.headers
    assert told["model"]["recommender"] == "ease" and told["model"]["role"] == "champion"
    assert told["user_known"] and told["history_length"] == 5 and told["features"] == "none"
    first = told["items"][0]
    assert (
        first["title"] == f"Thing {first['item_id'][1:]}"
        and first["categories"]
        and first["position"] == 1
    )
    assert [one["score"] for one in told["items"]] == sorted(
        (one["score"] for one in told["items"]), reverse=True
    )


async def test_the_next_recommendation_reflects_an_event(client: httpx.AsyncClient) -> None:
    before = await recommended(client, user_id="guest", k=N_ITEMS)
    assert await tell(client, {"event_id": "1", "user_id": "guest", "item_id": "i03"}) == {
        "accepted": 1,
        "duplicates": 0,
    }
    after = await recommended(client, user_id="guest", k=N_ITEMS)
    assert "i03" in before and "i03" not in after
    assert after != [item for item in before if item != "i03"]
    assert after == await recommended(client, history=["i03"], k=N_ITEMS)


async def test_an_event_sent_again_counts_once(client: httpx.AsyncClient) -> None:
    event = {"event_id": "1", "user_id": "guest", "item_id": "i03"}
    await tell(client, event)
    assert await tell(client, event, {**event, "event_id": "2", "item_id": "i05"}) == {
        "accepted": 1,
        "duplicates": 1,
    }
    assert (await client.get("/v1/users/guest")).json()["history_length"] == 2


async def test_only_events_of_interest_change_a_history(client: httpx.AsyncClient) -> None:
    low = {"event_id": "1", "user_id": "guest", "item_id": "i03", "event": "rating", "value": 2.0}
    await tell(
        client, low, {"event_id": "2", "user_id": "guest", "item_id": "i04", "event": "cart"}
    )
    assert not (await client.get("/v1/users/guest")).json()["known"]
    await tell(client, {**low, "event_id": "3", "value": 5.0})
    assert [one["item_id"] for one in (await client.get("/v1/users/guest")).json()["history"]] == [
        "i03"
    ]


async def test_reasons_name_items_of_the_history(client: httpx.AsyncClient) -> None:
    asked = {"history": ["i02", "i04", "unheard of"], "k": 3, "reasons": True}
    told = (await client.post("/v1/recommendations", json=asked)).json()
    reasons = [
        reason for one in told["items"] for reason in one["reasons"] if reason["kind"] == "item"
    ]
    assert reasons and {reason["item_id"] for reason in reasons} <= {"i02", "i04"}
    assert all(reason["contribution"] > 0 and reason["title"] for reason in reasons)
    assert all(one["reasons"][0]["kind"] == "item" for one in told["items"])
    asked_again = {"history": asked["history"], "items": [told["items"][0]["item_id"], "nothing"]}
    explained = (await client.post("/v1/explanations", json=asked_again)).json()["items"]
    assert explained[0]["reasons"] == told["items"][0]["reasons"]
    assert not explained[1]["known"] and explained[1]["reasons"] == []


async def test_of_who_met_nothing_the_reason_is_what_is_popular(client: httpx.AsyncClient) -> None:
    told = (await client.post("/v1/recommendations", json={"k": 3, "reasons": True})).json()
    share = {"kind": "popularity", "item_id": None, "title": None, "attribute": None}
    for one in told["items"]:
        [reason] = one["reasons"]
        assert reason.pop("contribution") == pytest.approx(one["score"]) and reason == share


async def test_an_attribute_that_speaks_for_an_item_is_named(project: Settings) -> None:
    ages = pl.DataFrame({"user_id": [f"u{user:02}" for user in range(40)], "age": [20, 60] * 20})
    put_copy(
        project,
        "champion",
        "2",
        find("demographics")({"l2": 1.0}).fit(TrainingData(interactions(), users=ages)),
    )
    async with running(project) as client:
        for age, odd in ((20, 0), (60, 1)):
            asked = {"context": {"age": age}, "k": 3, "reasons": True}
            told = (await client.post("/v1/recommendations", json=asked)).json()["items"]
            assert [int(one["item_id"][1:]) % 2 for one in told] == [odd] * 3
            reasons = [
                (reason["kind"], reason["attribute"]) for one in told for reason in one["reasons"]
            ]
            assert (
                set(reasons) == {("popularity", None), ("attribute", "age")} and len(reasons) == 6
            )


@pytest.mark.parametrize(
    ("filters", "allowed"),
    [
        ({"categories": ["even"]}, lambda item: item % 2 == 0),
        (
            {"categories": ["even", "strange"], "exclude_categories": ["odd"]},
            lambda item: item % 2 == 0,
        ),
        ({"exclude_items": ["i00", "i01", "no such"]}, lambda item: item > 1),
        ({"categories": ["new"]}, lambda item: item == N_ITEMS),
    ],
)
async def test_filters_hold(client: httpx.AsyncClient, filters: dict, allowed) -> None:
    for user in ("u00", "stranger"):
        found = [
            int(item[1:]) for item in await recommended(client, user_id=user, k=50, filters=filters)
        ]
        assert found and all(map(allowed, found))


async def test_seen_items_come_back_only_when_asked_for(client: httpx.AsyncClient) -> None:
    seen = set(interactions().filter(pl.col("user_id") == "u00")["item_id"])
    assert not seen & set(await recommended(client, user_id="u00", k=50))
    assert seen <= set(
        await recommended(client, user_id="u00", k=50, filters={"exclude_seen": False})
    )


async def test_nobody_gets_an_empty_list(client: httpx.AsyncClient) -> None:
    everything = [f"i{item:02}" for item in range(N_ITEMS)]
    for asked in (
        {},
        {"user_id": "stranger"},
        {"history": ["unheard of"]},
        {"history": ["i00"]},
        {"history": everything},
    ):
        assert await recommended(client, k=5, **asked)


async def test_similar_items_share_their_taste_and_leave_the_item_out(
    client: httpx.AsyncClient,
) -> None:
    told = (await client.post("/v1/similar-items", json={"item_id": "i04", "k": 5})).json()
    found = [int(one["item_id"][1:]) for one in told["items"]]
    assert (
        told["item_known"]
        and len(found) == 5
        and all(item % 2 == 0 and item != 4 for item in found)
    )
    assert (await client.post("/v1/similar-items", json={"item_id": "new one"})).json()["items"]


async def test_search_users_and_categories(client: httpx.AsyncClient) -> None:
    found = (await client.get("/v1/items", params={"query": "thing 07"})).json()["items"]
    assert [one["item_id"] for one in found] == ["i07"] and found[0]["price"] == 7.0
    users = (await client.get("/v1/users", params={"limit": 5})).json()["users"]
    assert len(users) == 5 and users[0]["history_length"] == 5
    assert {one["name"] for one in (await client.get("/v1/categories")).json()["categories"]} == {
        "even",
        "odd",
        "strange",
        "new",
    }
    assert (await client.get("/v1/users/u07")).json()["attributes"] == {"age": 7}


async def test_the_model_report_says_what_was_checked(client: httpx.AsyncClient) -> None:
    told = (await client.get("/v1/model")).json()
    assert told["champion"]["version"] == "1" and told["champion"]["origin"] == "local copy"
    assert told["champion"]["checks"] == {"golden": 3, "sanity": 4} and told["challenger"] is None


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/v1/recommendations", b"{", "json"),
        ("/v1/recommendations", b'{"k": 0}', "k:"),
        ("/v1/recommendations", b'{"catgories": []}', "catgories"),
        ("/v1/recommendations", b'{"user_id": "a\\u0000b"}', "user_id"),
        ("/v1/recommendations", b'{"history": [1]}', "history.0"),
        ("/v1/events", b'{"events": []}', "events"),
        (
            "/v1/events",
            b'{"events": [{"event_id": "1", "user_id": "a", "item_id": "b", "event": "yawn"}]}',
            "yawn",
        ),
        (
            "/v1/events",
            b'{"events": [{"event_id": "1", "user_id": "a", "item_id": "b", "timestamp": '
            b'"2999-01-01"}]}',
            "future",
        ),
        (
            "/v1/events",
            b'{"events": [{"event_id": "1", "user_id": "a", "item_id": "b", "value": 1e999}]}',
            "value",
        ),
    ],
)
async def test_what_is_not_valid_is_named(
    client: httpx.AsyncClient, path: str, body: bytes, says: str
) -> None:
    answer = await client.post(path, content=body, headers=JSON)
    assert answer.status_code == 422
    assert says in " ".join(answer.json().values()).lower()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_what_another_sites_page_could_send_unasked_is_refused(
    client: httpx.AsyncClient, kind: str
) -> None:
    event = {"event_id": "1", "user_id": "u00", "item_id": "i01", "event": "click"}
    told = await client.post(
        "/v1/events", content=orjson.dumps({"events": [event]}), headers={"content-type": kind}
    )
    assert told.status_code == 415 and "application/json" in told.json()["what"]


async def test_a_challenger_that_is_not_there_is_said(client: httpx.AsyncClient) -> None:
    assert (
        await client.post("/v1/recommendations", json={"model": "challenger"})
    ).status_code == 404


async def test_a_context_that_makes_no_sense_harms_nothing(client: httpx.AsyncClient) -> None:
    for age in ("old", 1e300, True, None, "7"):
        assert await recommended(client, user_id="u00", context={"age": age, "weather": "rain"})


async def test_bodies_are_bounded_however_they_come(client: httpx.AsyncClient) -> None:
    async def drip() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 50_000

    assert (
        await client.post("/v1/events", content=b" " * 2_000_000, headers=JSON)
    ).status_code == 413
    assert (await client.post("/v1/events", content=drip(), headers=JSON)).status_code == 413


async def test_metrics_count_by_call_and_hold_no_ids(client: httpx.AsyncClient) -> None:
    counter = 'augrec_requests_total{path="/v1/recommendations",status="200"}'
    await recommended(client, user_id="somebody-private")
    await client.get("/v1/users/somebody-private")
    text = (await client.get("/metrics")).text
    counted = [line for line in text.splitlines() if line.startswith("augrec_requests_total")]
    assert any(
        line.startswith(f"{counter} ") and float(line.split()[-1]) >= 1 for line in counted
    ), counted
    assert "somebody-private" not in text


async def test_every_call_is_documented_with_an_example(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    posts = [call["post"] for path, call in document["paths"].items() if "post" in call]
    assert len(posts) == 4
    for call in posts:
        schema = call["requestBody"]["content"]["application/json"]["schema"]
        example = schema["examples"][0]
        path = next(path for path, one in document["paths"].items() if one.get("post") == call)
        if path != "/v1/events":
            assert (await client.post(path, json=example)).status_code == 200
    assert (await client.get("/docs")).status_code == 200


async def test_keys_open_the_api_and_nothing_else_does(project: Settings) -> None:
    key, hashed = new_key()
    async with running(project, ApiKeys([hashed])) as client:
        for headers in (
            {},
            {"x-api-key": "wrong"},
            {"x-api-key": hashed},
            {"authorization": f"Basic {key}"},
        ):
            assert (
                await client.post("/v1/recommendations", json={}, headers=headers)
            ).status_code == 401
            assert (await client.get("/metrics", headers=headers)).status_code == 401
        for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
            assert (
                await client.post("/v1/recommendations", json={}, headers=headers)
            ).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/")).status_code == 200


async def test_without_a_model_popular_items_serve_and_say_so(
    tmp_path: Path, project: Settings
) -> None:
    async with running(make_project(tmp_path / "bare", model=None)) as client:
        answer = await client.post("/v1/recommendations", json={"user_id": "u00", "k": 5})
        assert (
            answer.headers["x-augrec-degraded"] == "model"
            and answer.json()["model"]["role"] == "fallback"
        )
        assert len(answer.json()["items"]) == 5


async def test_without_anything_it_is_alive_and_not_ready(
    tmp_path: Path, project: Settings
) -> None:
    bare = make_project(tmp_path / "bare", model=None)
    for path in (bare.home / "data/raw").iterdir():
        path.unlink()
    async with running(bare) as client:
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 503
        answer = await client.post("/v1/recommendations", json={})
        assert answer.status_code == 503 and answer.headers["retry-after"]


async def test_a_restart_forgets_nothing(project: Settings) -> None:
    async with running(project) as client:
        await tell(
            client,
            {"event_id": "1", "user_id": "guest", "item_id": "i03"},
            {"event_id": "2", "user_id": "u00", "item_id": "i01"},
        )
        before = [await recommended(client, user_id=user, k=8) for user in ("guest", "u00")]
    async with running(project) as client:
        assert [await recommended(client, user_id=user, k=8) for user in ("guest", "u00")] == before


async def test_more_users_than_fit_lose_nothing(tmp_path: Path, project: Settings) -> None:
    async with running(make_project(tmp_path / "small", serving={"max_users": 2})) as client:
        for number in range(10):
            await tell(
                client,
                {"event_id": f"{number}", "user_id": f"guest{number}", "item_id": f"i{number:02}"},
            )
        for number in range(10):
            told = (await client.get(f"/v1/users/guest{number}")).json()
            assert [one["item_id"] for one in told["history"]] == [f"i{number:02}"]
        assert len(client.app.state.service.users) <= 2  # type: ignore[attr-defined]


async def test_too_many_at_once_are_turned_away_and_the_others_answered(
    tmp_path: Path, project: Settings
) -> None:
    async with running(make_project(tmp_path / "narrow", serving={"max_in_flight": 3})) as client:
        answers = await asyncio.gather(
            *(client.post("/v1/recommendations", json={"k": 3}) for _ in range(40))
        )
        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 429}
        assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 429)
        assert (await client.get("/health/live")).status_code == 200


async def test_a_client_that_sends_half_a_body_is_not_waited_for(
    tmp_path: Path, project: Settings
) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with running(
        make_project(tmp_path / "patient", serving={"body_timeout_s": 0.05})
    ) as client:
        app = client.app  # type: ignore[attr-defined]
        sent: list[dict] = []
        body = aiter(stuck())

        async def receive() -> dict:
            return {"type": "http.request", "body": await anext(body), "more_body": True}

        async def send(message: dict) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost:8000"), (b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/events",
            "headers": headers,
            "query_string": b"",
        }
        await app(scope, receive, send)
        assert sent[0]["status"] == 408


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("shop", 200), ("evil.example", 421)],
)
async def test_it_answers_under_its_own_names_only(
    tmp_path: Path, project: Settings, host: str, status: int
) -> None:
    async with running(
        make_project(tmp_path / "named", serving={"allow_hosts": ["shop"]})
    ) as client:
        assert (await client.get("/v1/model", headers={"host": host})).status_code == status


async def test_a_shadow_is_asked_and_logged_and_never_shown(
    tmp_path: Path, project: Settings
) -> None:
    settings = make_project(tmp_path / "shadow", serving={"rollout": {"mode": "shadow"}})
    put_copy(settings, "challenger", "2", "popularity")
    async with running(settings) as client:
        for _ in range(5):
            answer = (
                await client.post("/v1/recommendations", json={"user_id": "u00", "k": 3})
            ).json()
            assert answer["model"]["role"] == "champion"
            await asyncio.sleep(0.05)
    lines = [
        orjson.loads(line)
        for path in settings.var.glob("serving/answers/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    shown = {one["answer_id"]: one for one in lines if one["kind"] == "assigned"}
    shadows = [one for one in lines if one["kind"] == "shadow"]
    assert len(shown) == 5 and shadows
    for one in shadows:
        assert (one["role"], one["version"]) == ("challenger", "2")
        assert one["history"] == shown[one["answer_id"]]["history"]


async def test_a_damaged_copy_is_refused_and_popular_items_serve(project: Settings) -> None:
    [copy] = (project.var / "serving/models").iterdir()
    arrays = copy / "artifacts/model/arrays.safetensors"
    content = bytearray(arrays.read_bytes())
    content[-1] ^= 1
    arrays.write_bytes(content)
    async with running(project) as client:
        told = (await client.get("/v1/model")).json()
        assert told["champion"]["role"] == "fallback" and "changed" in told["refused"][0]["why"]
        assert await recommended(client, user_id="u00")
