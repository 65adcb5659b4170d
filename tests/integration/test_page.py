"""The page at `GET /`, in a real browser, on a real service with a real model."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
from page_browser import FAINT, UNLABELLED, chromium
from page_project import HOSTILE, challenge, make_project, promote, serving
from playwright.sync_api import Browser, Page, expect

PHONE = {"width": 375, "height": 812}
ROWS = "#champion [data-item]"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[str]:
    with serving(home) as address:
        httpx.get(f"{address}/v1/page/retrain", timeout=30)  # MLflow is imported by now
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def open_page(browser: Browser, service: str) -> Iterator[Open]:
    """Opens the page; at the end nothing may have been complained about or asked for elsewhere."""
    complaints: list[str] = []

    def told(page: Page) -> None:
        page.on("console", lambda line: complaints.append(f"{line.type}: {line.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda one: one.url.startswith((service, "blob:")) or complaints.append(one.url),
        )

    def opened(view: str = "", **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        told(page)
        page.goto(f"{service}/{view}")
        if not view:
            expect(page.locator(ROWS)).to_have_count(12)
        return page

    contexts: list = []
    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def ranked(page: Page, side: str = "champion") -> list[str]:
    return page.locator(f"#{side} [data-item]").evaluate_all(
        "rows => rows.map(row => row.dataset.item)"
    )


def like(page: Page, words: str) -> None:
    """Search, and take the first title found."""
    page.get_by_label("Search titles").fill(words)
    page.locator("#search-options[aria-busy=false] [id]").first.click()


def test_a_new_user_sees_popular_titles_and_which_model_chose_them(open_page: Open) -> None:
    page = open_page()
    expect(page.locator("#status")).to_contain_text("For a new user: popular titles")
    expect(page.locator("#serving")).to_have_text("Champion: version 1ease, trained on real data")
    expect(page.locator("#liked-empty")).to_be_visible()
    expect(page.locator("#compare")).to_contain_text("There is no challenger")


def test_each_like_changes_the_list_at_once_and_is_its_reason(open_page: Open) -> None:
    page = open_page()
    before = ranked(page)
    like(page, "lamp")
    expect(page.locator("#status")).to_contain_text("with 1 title")
    liked = page.locator("#liked li span").first.inner_text()
    assert "lamp" in liked.lower()
    assert ranked(page) != before
    expect(page.locator(ROWS).filter(has_text=f"because you liked {liked}").first).to_be_visible()
    expect(page.locator("#champion .move").first).to_be_visible()
    second = page.locator(ROWS).nth(2).get_attribute("data-item")
    page.locator(ROWS).nth(2).get_by_role("button").click()
    expect(page.locator("#liked li")).to_have_count(2)
    expect(page.locator("#status")).to_contain_text("with 2 titles")
    assert second not in ranked(page)


def test_a_like_taken_back_gives_the_first_list_again(open_page: Open) -> None:
    page = open_page()
    before = ranked(page)
    page.locator(ROWS).first.get_by_role("button").click()
    expect(page.locator("#status")).to_contain_text("with 1 title")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#status")).to_contain_text("For a new user: popular titles")
    assert ranked(page) == before


def test_a_real_user_is_recommended_from_what_they_did(open_page: Open, service: str) -> None:
    page = open_page()
    before = ranked(page)
    page.get_by_role("radio", name="Existing user").check()
    chosen = page.locator("#user-options [id]").first
    user = chosen.locator("span").inner_text()
    chosen.click()
    known = httpx.get(f"{service}/v1/users/{user}").json()["history_length"]
    expect(page.locator("#status")).to_contain_text(f"For user {user} with {known} title")
    assert page.locator("#before-list li").count() == min(6, known) > 0
    assert ranked(page) != before
    page.get_by_role("radio", name="New user").check()
    expect(page.locator("#status")).to_contain_text("For a new user")
    assert ranked(page) == before


def test_clicks_are_stored_only_when_they_shall_be(open_page: Open, service: str) -> None:
    user = httpx.get(f"{service}/v1/users?limit=3").json()["users"][2]["user_id"]
    page = open_page()
    page.get_by_role("radio", name="Existing user").check()
    page.get_by_label("User id").fill(user)
    page.get_by_label("User id").press("Enter")
    expect(page.locator("#status")).to_contain_text(f"For user {user}")
    kept = httpx.get(f"{service}/v1/users/{user}").json()["history_length"]
    page.locator(ROWS).first.get_by_role("button").click()
    expect(page.locator("#liked li")).to_have_count(1)
    assert httpx.get(f"{service}/v1/users/{user}").json()["history_length"] == kept
    page.get_by_role("switch", name="Store my likes").check()
    item = page.locator(ROWS).first.get_attribute("data-item")
    page.locator(ROWS).first.get_by_role("button").click()
    expect(page.locator("#liked .mark")).to_have_text("stored")
    assert httpx.get(f"{service}/v1/users/{user}").json()["history"][0]["item_id"] == item
    expect(page.locator(f'{ROWS}[data-item="{item}"]')).to_have_count(0)


def test_titles_are_text_whatever_they_hold(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Search titles").fill("onerror")
    expect(page.locator("#search-options[aria-busy=false] [id] span")).to_have_text(HOSTILE)
    page.get_by_label("Search titles").press("Enter")
    expect(page.locator("#liked li span").first).to_have_text(HOSTILE)
    assert page.title() == "augrec"
    assert page.locator("main img").count() == 0


def test_a_category_narrows_the_list(open_page: Open, service: str) -> None:
    page = open_page()
    name = httpx.get(f"{service}/v1/categories").json()["categories"][0]["name"]
    page.get_by_label("Category").select_option(name)
    expect(page.locator(f"{ROWS} .about:has-text('{name}')")).to_have_count(
        page.locator(ROWS).count()
    )


def test_a_challenger_is_shown_next_to_the_champion(
    open_page: Open, home: Path, service: str
) -> None:
    challenge(home, "2")
    try:
        _until(lambda: httpx.get(f"{service}/v1/model").json()["challenger"] is not None)
        page = open_page()
        like(page, "lamp")
        expect(page.locator("#challenger-title")).to_have_text(
            "Challengerversion 2 · popularity, trained on real data"
        )
        expect(page.locator("#compare")).to_contain_text("are in both lists")
        ours, theirs = set(ranked(page)), set(ranked(page, "challenger"))
        assert page.locator("#champion .only").count() == len(ours - theirs) > 0
        small = open_page(viewport=PHONE)
        expect(small.locator("#challenger")).to_be_hidden()
        small.get_by_role("button", name="Challenger").click()
        expect(small.locator("#challenger")).to_be_visible()
        expect(small.locator("#champion")).to_be_hidden()
    finally:
        challenge(home, None)
        _until(lambda: httpx.get(f"{service}/v1/model").json()["challenger"] is None)


def test_a_new_champion_takes_over_the_open_page(open_page: Open, home: Path, service: str) -> None:
    page = open_page()
    promote(home, "2", instead_of="1")
    try:
        expect(page.locator("#serving")).to_have_text(
            "Champion: version 2popularity, trained on real data"
        )
        expect(page.locator(ROWS)).to_have_count(12)
    finally:
        promote(home, "1", instead_of="2")
        _until(lambda: httpx.get(f"{service}/v1/model").json()["champion"]["version"] == "1")


def test_who_types_faster_than_the_search_gets_what_they_typed(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Search titles").click()
    page.keyboard.type("puzzle")
    page.keyboard.press("Enter")
    expect(page.locator("#liked li span").first).to_contain_text("puzzle")


def test_everything_can_be_done_with_the_keyboard(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("/")
    page.keyboard.type("chair")
    expect(page.locator("#search-options [id]").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#search-options [aria-selected=true] span").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#liked li span").first).to_have_text(chosen)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.like')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#liked li")).to_have_count(2)
    expect(page.locator("#status")).to_contain_text("with 2 titles")
    assert page.evaluate(
        "document.activeElement.matches('.like')"
    )  # the next one, the focus is not lost
    page.get_by_role("tab", name="Try it").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Last retrain")).to_be_focused()
    expect(page.locator("#retrain h1")).to_be_visible()
    assert page.url.endswith("#last-retrain")


def test_a_list_that_changes_by_itself_keeps_the_focus_on_the_item(open_page: Open) -> None:
    page = open_page()
    third = page.locator("#champion [data-item]").nth(2)
    expect(third).to_be_visible()
    item = third.get_attribute("data-item")
    third.locator(".like").focus()
    page.evaluate("document.getElementById('category').dispatchEvent(new Event('change'))")
    expect(page.locator("#sides")).to_have_attribute("aria-busy", "false")
    assert page.evaluate("document.activeElement.closest('li')?.dataset.item") == item


def test_the_second_tab_shows_the_last_decision_and_the_audits(open_page: Open) -> None:
    page = open_page("#last-retrain")
    expect(page.locator("#retrain h1")).to_have_text("No generated data this time")
    expect(page.locator("#retrain")).to_contain_text("Serve ease trained on real data")
    scores = page.get_by_role("region", name="Results of each model")
    expect(scores.locator("tbody tr")).to_have_count(3)
    expect(scores.locator("tr.won")).to_contain_text("ease")
    expect(scores.locator("tr.won")).to_contain_text("0.120")
    expect(
        page.get_by_role("region", name="profile gan: passed").locator("tbody tr")
    ).to_have_count(3)
    expect(page.locator("#retrain .moves")).to_contain_text("Version 1 became champion.")
    drawn = page.locator("#retrain .figures img")
    expect(drawn.first).to_be_visible()
    widths = drawn.evaluate_all(
        "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth)))"
    )
    assert len(widths) == 2 and min(widths) > 200
    report = httpx.get(page.get_by_role("link", name="Full report").evaluate("link => link.href"))
    assert report.text.startswith("<!doctype html>")
    assert report.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert '<a href="audit/profile_gan/index.html">' in report.text
    audit = httpx.get(report.url.join("audit/profile_gan/index.html"))
    assert "The audit" in audit.text
    assert audit.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert httpx.get(report.url.join("audit/nobody/index.html")).status_code == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_can_be_read_and_makes_sense_to_a_screen_reader(
    open_page: Open, scheme: str
) -> None:
    page = open_page(viewport=PHONE, color_scheme=scheme)
    like(page, "uncommonly")
    expect(page.locator("#status")).to_contain_text("with 1 title")
    for tab in ("Try it", "Last retrain"):
        page.get_by_role("tab", name=tab).click()
        expect(page.locator("h1:visible")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(FAINT) == []
        assert page.evaluate(UNLABELLED) == []
    page.get_by_role("tab", name="Try it").click()
    sizes = page.locator("main button:visible").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 24  # WCAG 2.2, target size


def test_a_service_that_cannot_be_reached_is_said_and_tried_again(
    browser: Browser, service: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(service)
    expect(page.locator(ROWS)).to_have_count(12)
    context.set_offline(True)
    page.locator(ROWS).first.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("The service cannot be reached")
    expect(page.locator(ROWS)).to_have_count(12)  # what was there stays
    context.set_offline(False)
    expect(page.locator("#status")).to_contain_text("with 1 title")
    expect(page.locator("#problem")).to_be_empty()
    context.close()


def test_where_keys_are_wanted_the_page_asks_for_one_and_keeps_it_to_itself(
    browser: Browser, home: Path
) -> None:
    hashed = hashlib.sha256(b"open sesame").hexdigest()
    with serving(home, AUGREC_API_KEYS=hashed) as address:
        assert httpx.get(f"{address}/v1/page/retrain").status_code == 401
        assert httpx.get(f"{address}/v1/page/report").status_code == 401
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        field = page.get_by_label("API key", exact=True)
        field.fill("guessed")
        field.press("Enter")
        expect(page.get_by_role("alert").filter(has_text="not accepted")).to_be_visible()
        field.fill("open sesame")
        field.press("Enter")
        expect(page.locator(ROWS)).to_have_count(12)
        assert "sesame" not in page.content() and "sesame" not in page.url
        context.close()


def test_the_pages_files_are_safe_and_cached(service: str) -> None:
    page = httpx.get(service)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    again = httpx.get(service, headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("..%2froutes.py", "%2e%2e/routes.py", "nothing.js", "..%5c..%5capp.py", "%00"):
        assert httpx.get(f"{service}/static/{name}").status_code == 404
    for name in ("main.js", "try.js", "retrain.js", "items.js", "api.js", "combobox.js", "dom.js"):
        kind = httpx.get(f"{service}/static/{name}").headers["content-type"]
        assert kind.startswith("text/javascript")


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to hold")


def test_the_documentation_shows_every_call_and_sends_its_examples(
    open_page: Open, service: str
) -> None:
    paths = httpx.get(f"{service}/openapi.json").json()["paths"]
    page = open_page("docs")
    calls = page.locator("details.call")
    expect(calls).to_have_count(sum(len(methods) for methods in paths.values()))
    call = page.locator("#post-v1-recommendations")
    call.locator("summary").first.click()
    expect(call.get_by_role("row", name="exclude_seen true or false")).to_contain_text(
        "default true"
    )
    call.get_by_role("button", name="Send").click()  # the example is of this shop's own data
    expect(call.locator("pre")).to_contain_text('"user_known": true')
    call.get_by_label("Body").fill('{"k": 3}')
    call.get_by_role("button", name="Send").click()
    expect(call.locator("pre")).to_contain_text('"position": 3')


def test_the_terminal_recommends_with_titles_and_reasons(home: Path) -> None:
    seen = pl.read_parquet(home / "data/raw/interactions.parquet")
    user = seen["user_id"].value_counts(sort=True)["user_id"][0]
    words = ("recommend", "--user", user, "-k", "3")
    done = subprocess.run(
        [sys.executable, "-c", "from augrec.cli import app; app()", *words],
        cwd=home,
        env={**os.environ, "AUGREC_HOME": str(home), "COLUMNS": "2000"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    items = pl.read_parquet(home / "data/raw/items.parquet")
    titles = dict(items.select("item_id", "title").iter_rows())
    own = {titles[item] for item in seen.filter(pl.col("user_id") == user)["item_id"]}
    rows = [line for line in done.stdout.splitlines() if line.strip()[:1] in {"1", "2", "3"}]
    assert len(rows) == 3
    for row in rows:
        item = row.split()[1]
        assert titles[item].split()[0] in row
        assert any(title in row for title in own), row
