"""What the terminal and the approver read at the end of a run."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from augrec.reporting import approval, run_summary

NUMBERS = {"0": 0.1012, "1-5": 0.2034, "6-20": 0.3056, "21+": None}


def arm(policy: str, kind: str, bonus: float) -> dict:
    slices = {
        name: {"n_users": 9, "ndcg@10": value and value + bonus}
        for name, value in NUMBERS.items()
        if value
    }
    overall = {"n_users": 1234, "ndcg@10": 0.25 + bonus, "recall@20": 0.41 + bonus}
    return {
        "recommender": "multvae_with_a_long_name",
        "policy": policy,
        "kind": kind,
        "valid": {},
        "test": {"overall": overall, "slices": slices},
    }


@pytest.fixture
def decision() -> dict:
    return {
        "sentences": [
            "Serve it.",
            "It beat every placebo for users with 1–5 known items " + "very " * 30 + "well.",
            "Good overall.",
        ],
        "winner": {
            "recommender": "multvae_with_a_long_name",
            "policy": "profile_gan",
            "kind": "generated",
        },
        "gate": {"metric": "ndcg@10"},
        "arms": [
            arm("none", "real", 0.0),
            arm("popularity_random", "placebo", 0.004),
            arm("profile_gan", "generated", 0.0217),
        ],
    }


def printed(*what: object, width: int = 100) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(run_summary.table(*what), crop=False)
    return console.export_text()


def compared() -> dict:
    row = {
        "n_users": 1234,
        "champion_mean": 0.25,
        "challenger_mean": 0.2717,
        "difference": 0.0217,
        "ci_low": 0.011,
        "ci_high": 0.032,
    }
    none = dict.fromkeys(row, None) | {
        "slice": "21+",
        "n_users": 1,
        "champion_mean": 0.5,
        "challenger_mean": 0.4,
        "difference": -0.1,
    }
    return {
        "outcome": "compared",
        "challenger": {"version": "8", "recommender": "multvae", "policy": "profile_gan"},
        "champion": {"version": "7", "recommender": "ease", "policy": "none"},
        "lost_champion": None,
        "comparison": {
            "metric": "ndcg@10",
            "margin": 0.01,
            **row,
            "verdict": "better",
            "lost": [],
            "slices": [none],
        },
    }


def test_the_summary_fits_80_columns_and_shows_every_number(decision: dict) -> None:
    text = printed(decision, width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text.replace("0 … more", "").replace("multvae_with_a_long_name", "")
    for number in ("0.272", "0.432", "0.123", "0.225", "0.327", "–"):
        assert number in text


def test_the_winner_is_marked_and_kinds_are_named(decision: dict) -> None:
    lines = printed(decision).splitlines()
    [won] = [line for line in lines if "▶" in line and "the winner" not in line]
    assert "▶ profile_gan" in won and "generated" in won
    assert any("popularity_random" in line and "placebo" in line for line in lines)
    assert any(" none " in line and "real data" in line for line in lines)


def test_the_summary_says_what_was_restored_and_where_to_look(decision: dict) -> None:
    restored = {
        "validate": True,
        "prepare": True,
        "train@ease-none": False,
        "train@ease-gan": False,
        "decide": False,
    }
    places = {
        "report": "/runs/1/report.html",
        "mlflow": "http://127.0.0.1:5000",
        "version": "8",
        "champion": True,
    }
    text = printed(decision, restored, places)
    assert "2 of 5 restored" in text and "train (2), decide" in text
    assert (
        "8, the champion" in text
        and "/runs/1/report.html" in text
        and "http://127.0.0.1:5000" in text
    )


def test_where_to_look_is_never_broken_so_that_it_can_be_copied(decision: dict) -> None:
    path = "/a-long-folder" * 20 + "/report.html"
    assert path in printed(decision, {}, {"report": path}, width=60)


def test_a_first_run_says_that_every_stage_ran(decision: dict) -> None:
    assert "all 2 ran" in printed(decision, {"validate": False, "prepare": False})


def test_a_dry_run_says_why_nothing_was_registered(decision: dict) -> None:
    assert "none: a dry run registers nothing" in printed(
        decision, {}, {"version": None, "note": "a dry run registers nothing"}
    )


def test_an_approver_sees_champion_and_challenger_side_by_side(decision: dict) -> None:
    text = approval.markdown(compared(), decision)
    assert "test users version 8 is 8.7 % better than the champion, version 7" in text
    assert "(NDCG@10; difference +0.022, interval +0.011 to +0.032): it is better." in text
    assert "champion 7 (ease × none)" in text
    assert "| all users | 1,234 | 0.250 | 0.272 | +0.022 | +0.011 … +0.032 |" in text
    assert "| 21 or more known items | 1 | 0.500 | 0.400 | −0.100 | – |" in text
    assert all(sentence in text for sentence in decision["sentences"]) and "report.html" in text


def test_a_first_champion_is_shown_with_its_own_numbers(decision: dict) -> None:
    first = compared() | {"outcome": "first_champion", "champion": None, "comparison": None}
    text = approval.markdown(first, decision)
    assert "Version 8 is the first model" in text and "| 1–5 known items | 9 | 0.225 |" in text


def test_approving_the_same_version_is_said_to_change_nothing(decision: dict) -> None:
    same = compared() | {"outcome": "same_version", "comparison": None}
    assert "champion already" in approval.markdown(same, decision)


def test_a_missing_number_is_never_the_best(decision: dict) -> None:
    decision["arms"][0]["test"]["overall"]["ndcg@10"] = None
    console = Console(
        width=100, force_terminal=True, color_system="standard", no_color=False, file=StringIO()
    )
    console.print(run_summary.table(decision))
    text = console.file.getvalue()
    assert re.search(r"\x1b\[1;32m *0\.272", text) and not re.search(r"\x1b\[1;32m *–", text)
