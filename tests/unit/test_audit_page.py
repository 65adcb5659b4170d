"""The page of an audit: what it shows is what was measured, and it needs nothing but itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from augrec.reporting import audit_page

HOSTILE = "<script>alert('x')</script>"
BINS = {"edges": [0.0, 1.0, 2.0], "real": [3, 1], "synthetic": [2, 2]}
SHARES = {"names": ["view", HOSTILE], "real": [0.7, 0.3], "synthetic": [0.6, 0.4]}
DRAWN = {
    "popularity": {"real": [0.5, 0.3, 0.2], "synthetic": [0.4, 0.4, 0.2]},
    "lengths": BINS,
    "gaps": BINS,
    "values": SHARES,
    "events": SHARES,
    "categories": SHARES,
    "clusters": SHARES,
    "neighbours": {"edges": [0.0, 0.5, 1.0], "training": [3, 1], "held_out": [2, 2]},
    "roc": {"false_positive_rate": [0.0, 1.0], "true_positive_rate": [0.0, 1.0]},
    "map": {"real": [[0.0, 1.0], [1.0, 0.0]], "synthetic": [[0.5, 0.5]]},
}


def verdict(**changes) -> dict:
    return {
        "generator": "profile_gan",
        "passed": True,
        "failed_limits": [],
        "undecided_limits": ["max_attack_auc"],
        "undecided": "pass",
        "limits": {"max_attack_auc": 0.65, "min_item_coverage": 0.3},
        "fidelity": {
            "c2st_accuracy": 0.8123,
            "c2st_accuracy_low": 0.79,
            "c2st_accuracy_high": 0.83,
            "length_ks": 0.0297,
            "c2st_auc": 0.8614,
            "length_distance": 0.0671,
        },
        "diversity": {"item_coverage": 0.987, "precision": 0.91, "precision_real": 0.97},
        "privacy": {
            "n_members": 542,
            "n_non_members": 62,
            "footing": "before_validation",
            "attack_auc": 0.577,
            "attack_auc_low": 0.498,
            "attack_auc_high": 0.681,
            "attack_auc_bias": 0.007,
            "control_auc": 0.507,
            "attack_auc_plain": 0.571,
            "attack_auc_calibrated": 0.578,
            "n_non_members_effective": 40.6,
            "copy_share": 0.002,
            "copy_share_held_out": 0.013,
            "item_disclosure": 0.03,
            "item_disclosure_chance": 0.148,
            "attribute_disclosure": 0.02,
            "attribute_disclosure_chance": 0.25,
            "attribute_disclosed": HOSTILE,
        },
        "leak": {"n_strangers": 401, "leak_auc": 0.446, "leak_worst": "test, later"},
        "utility": {
            "recommender": "ease",
            "metric": "ndcg@10",
            "n_users": 175,
            "n_trained_on": 542,
            "tstr": 0.288,
            "trtr": 0.305,
            "popularity": 0.295,
            "tstr_ratio": 0.9443,
            "tstr_difference": -0.017,
            "tstr_difference_low": -0.03,
            "tstr_difference_high": -0.005,
            "slices": {
                "1-5": {
                    "n_users": 114,
                    "tstr": 0.439,
                    "trtr": 0.449,
                    "popularity": 0.416,
                    "tstr_ratio": 0.978,
                }
            },
        },
        **changes,
    }


@pytest.fixture
def page(tmp_path):
    def write(**changes) -> str:
        audit_page.write(tmp_path / "index.html", verdict(**changes), DRAWN)
        return (tmp_path / "index.html").read_text(encoding="utf-8")

    return write


class Loaded(HTMLParser):
    """Everything a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag == "script":
            self.found.append(tag)
        self.found += [
            value
            for name, value in attrs
            if name in ("src", "href") and not (value or "").startswith(("#", "data:,"))
        ]


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_page_loads_and_runs_nothing_whatever_the_names_are(page):
    html = page()
    parser = Loaded()
    parser.feed(html)
    assert parser.found == []
    assert HOSTILE not in html and "&lt;script&gt;" in html
    assert "url(" not in html.replace("url(#", "")


def test_every_drawing_and_every_part_is_there(page):
    html = page()
    titles = re.findall(r'<p class="name">(.*?)</p>', html)
    assert titles == [
        "How popular items are",
        "Profile lengths",
        "Values",
        "Time gaps",
        "Events",
        "Categories",
        "Clusters of users",
        "Map of users",
        "Can an attacker find training users?",
        "Does it copy users?",
    ]
    assert html.count('<svg class="plot"') == len(titles)


def test_numbers_stand_with_their_intervals_and_what_an_ideal_sample_gives(page):
    text = words(page())
    for told in (
        "0.812",
        "0.790 to 0.830",
        "0.910 0.970",
        "0.577",
        "0.498 to 0.681",
        "401 users are held out",
        "0.439",
        "94 %",
        "98 %",
    ):
        assert told in text, told
    assert "−0.030 to −0.005" in text


def test_whatever_was_measured_is_shown_in_its_place(page):
    text = words(page())
    for told in (
        "real or synthetic, AUC 0.861 0.500",
        "profile lengths, distance 0.067 0.000",
        "attack by likeness 0.571 0.500",
        "attack by unusual likeness 0.578 0.500",
        "held-out users who are copies 0.013",
        "hidden items, by chance 0.148",
        "attributes, by chance 0.250",
        "disclosed most: &lt;script&gt;",
        "The worst group: test, later.",
        "the smaller one has an effective size of 41 users",
    ):
        assert told in text, told


def test_extensions_and_new_items_are_shown_where_there_are_some(page):
    assert (
        "Rows added to short histories" not in page() and "Items without interactions" not in page()
    )
    extensions = {
        "n_extended_users": 157,
        "left_pair_correlation": 0.31,
        "left_pair_correlation_real": 0.42,
    }
    new = {"new_item_coverage": 0.9, "new_category_match": 0.658, "new_category_match_real": 0.821}
    text = words(page(extensions=extensions, new_items=new))
    assert (
        "what 157 real users may have done" in text
        and "before: pairs with the history 0.310 0.420" in text
    )
    assert "new items by category 0.658 0.821" in text and "new items covered 0.900 1.000" in text


def test_what_could_not_be_measured_is_shown_with_what_to_do(page):
    privacy = {"n_members": 360, "n_non_members": 0, "footing": "everything", "attack_auc": None}
    text = words(
        page(
            passed=False,
            failed_limits=["max_attack_auc", "min_item_coverage"],
            undecided_limits=[],
            privacy=privacy,
            advice="Hold users out.",
            leak={"n_strangers": 0},
        )
    )
    assert (
        "“items covered” lies beyond its limit. “attack AUC (0.5: guessing)” could not be measured"
        in text
    )
    assert "Hold users out." in text and "no attack was carried out" in text
    assert "✗ not measured" in text and "✗ no " in text


def test_the_verdict_names_what_failed_and_what_could_not_be_decided(page):
    passed = words(page())
    assert (
        "may be used" in passed
        and "? too few users" in passed
        and "too few users to decide on “attack AUC" in passed
    )
    failed = words(page(passed=False, failed_limits=["min_item_coverage"], undecided_limits=[]))
    assert "must not be used" in failed and "“items covered” lies beyond its limit" in failed


def test_the_promise_of_a_differentially_private_generator_is_shown(page):
    assert "differentially private" not in words(page())
    text = words(
        page(
            sample={
                "privacy": {
                    "epsilon": 3.0,
                    "delta": 1e-5,
                    "noise_multiplier": 1.2,
                    "unit": "user: with the whole history",
                    "public": {"items": "the catalogue"},
                }
            }
        )
    )
    assert (
        "ε = 3, δ = 1e-05" in text
        and "20.1" in text
        and "noise multiplier 1.2" in text
        and "items: the catalogue" in text
    )


def test_a_sample_without_held_out_users_or_cases_is_shown_too(page):
    bare = words(page(leak={"n_strangers": 0}, utility=dict.fromkeys(["trtr", "tstr"])))
    assert "No users are held out" in bare and "no validation cases" in bare


def test_the_same_audit_gives_the_same_bytes(page):
    assert page() == page()
