"""A group on the page, in a real browser, on a real service with a real model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from page_browser import FAINT, UNLABELLED, chromium
from page_project import make_project, serving
from playwright.sync_api import Browser, Page, expect

PHONE = {"width": 375, "height": 812}
ROWS = "#champion [data-item]"
MEMBERS = "#members .member"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(make_project(tmp_path_factory.mktemp("shop"))) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def opened(browser: Browser, service: str, **options: object) -> Page:
    size = {"width": 1280, "height": 900}
    page = browser.new_context(**{"viewport": size, **options}).new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(service)
    expect(page.locator(ROWS)).to_have_count(12)
    page.get_by_role("radio", name="Group").check()
    expect(page.locator(MEMBERS)).to_have_count(2)
    expect(page.locator("#status")).to_contain_text("For the group")
    return page


def like_first(page: Page, words: str) -> None:
    page.get_by_label("Search titles").fill(words)
    page.locator("#search-options[aria-busy=false] [id]").first.click()
    expect(page.locator("#liked li")).to_have_count(1)


def ranked(page: Page) -> list[str]:
    found: list[str] = page.locator(ROWS).evaluate_all("all => all.map(one => one.dataset.item)")
    return found


def test_two_people_like_things_and_see_how_content_they_are(
    browser: Browser, service: str
) -> None:
    page = opened(browser, service)
    like_first(page, "chair")
    expect(page.locator("#status")).to_contain_text("1 title")
    expect(page.locator("#champion")).to_contain_text("because one of you liked")
    page.locator(MEMBERS).nth(1).click()
    expect(page.locator("#liked-title")).to_have_text("New user 2 likes")
    expect(page.locator("#liked li")).to_have_count(0)
    like_first(page, "chair")
    expect(page.locator("#champion")).to_contain_text("because two of you liked")
    meters = page.locator("#members meter").evaluate_all("all => all.map(one => one.value)")
    assert len(meters) == 2 and all(0 < one <= 1 for one in meters)


def test_members_come_and_go_between_two_and_eight(browser: Browser, service: str) -> None:
    page = opened(browser, service)
    page.get_by_label("Add an existing user").click()
    page.locator("#member-options [id]").first.click()
    expect(page.locator(MEMBERS)).to_have_count(3)
    expect(page.locator(f"{MEMBERS}[aria-pressed=true]")).to_contain_text("User ")
    expect(page.locator(f"{MEMBERS}[aria-pressed=true]")).not_to_contain_text("0 titles")
    for n in range(4, 9):
        page.get_by_role("button", name="Add a new user").click()
        expect(page.locator(MEMBERS)).to_have_count(n)
    expect(page.get_by_role("button", name="Add a new user")).to_be_disabled()
    for n in range(7, 1, -1):
        page.locator("#members .round").first.click()
        expect(page.locator(MEMBERS)).to_have_count(n)
    expect(page.locator("#members .round")).to_have_count(0)


def test_the_strategy_is_switched_with_the_keyboard(browser: Browser, service: str) -> None:
    page = opened(browser, service)
    page.get_by_label("Add an existing user").click()
    page.locator("#member-options [id]").nth(0).click()
    page.get_by_label("Add an existing user").click()
    page.locator("#member-options [id]").nth(1).click()
    expect(page.locator(MEMBERS)).to_have_count(4)
    strategy = page.get_by_label("The list is made by")
    strategy.focus()
    with page.expect_response(
        lambda answer: "most_pleasure" in (answer.request.post_data or "")
    ) as answer:
        page.keyboard.type("what someone loves")
    assert answer.value.json()["group"]["strategy"] == "most_pleasure"
    shown = [one["item_id"] for one in answer.value.json()["items"]]
    expect(page.locator(ROWS).first).to_have_attribute("data-item", shown[0])
    assert ranked(page) == shown
    page.locator(MEMBERS).first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(MEMBERS).first).to_have_attribute("aria-pressed", "true")
    expect(page.locator(MEMBERS).first).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_group_fits_a_phone_and_makes_sense_to_a_screen_reader(
    browser: Browser, service: str, scheme: str
) -> None:
    page = opened(browser, service, viewport=PHONE, color_scheme=scheme)
    page.get_by_label("Add an existing user").click()
    page.locator("#member-options [id]").first.click()
    expect(page.locator("#members meter")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(FAINT) == []
    assert page.evaluate(UNLABELLED) == []


def test_a_group_that_ends_is_one_new_user_again(browser: Browser, service: str) -> None:
    page = opened(browser, service)
    like_first(page, "chair")
    page.get_by_role("radio", name="New user").check()
    expect(page.locator("#status")).to_contain_text("For a new user")
    expect(page.locator("#liked li")).to_have_count(0)
    expect(page.locator("#liked-title")).to_have_text("You like")
    expect(page.locator("#group")).to_be_hidden()
