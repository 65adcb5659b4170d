"""Names and numbers as a reader sees them; the report, the terminal and the approval screen all use these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KINDS: Final = {"real": "real data", "placebo": "placebo", "generated": "generated"}

MISSING: Final = "–"

_SLICE_WORDS: Final = {
    "0": "no known item",
    "1-5": "1–5 known items",
    "6-20": "6–20 known items",
    "21+": "21 or more known items",
    "all": "all users",
    "overall": "all users",
}
_METRIC_WORDS: Final = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "map": "MAP",
    "mrr": "MRR",
    "f1": "F1",
    "recall_head": "Recall, most popular",
    "recall_mid": "Recall, in between",
    "recall_tail": "Recall, least popular",
    "recall_new": "Recall, new items",
    "coverage": "Coverage",
    "gini": "Gini",
    "novelty": "Novelty",
    "popularity_lift": "Popularity lift",
    "diversity": "Diversity",
    "serendipity": "Serendipity",
}


def slice_words(name: str) -> str:
    """A slice of users: "1-5" becomes "1–5 known items"."""
    return _SLICE_WORDS.get(name, name)


def crowd(name: str) -> str:
    """The users of a slice: "1-5" becomes "users with 1–5 known items", "all" becomes "all users"."""
    words = slice_words(name)
    return words if words.endswith("users") else f"users with {words}"


def metric_words(name: str) -> str:
    """A metric: "ndcg@10" becomes "NDCG@10"."""
    stem, at, cutoff = name.partition("@")
    return f"{_METRIC_WORDS.get(stem, stem.replace('_', ' '))}{at}{cutoff}"


def plain(name: str) -> str:
    """An identifier with its underscores as spaces."""
    return name.replace("_", " ")


def number(value: float | None, digits: int = 3) -> str:
    """A metric's value: 0.412; a dash where there is none."""
    return MISSING if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign: +0.012, −0.004; a dash where there is none."""
    if value is None:
        return MISSING
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if float(f"{value:.{digits}f}") else text[1:]


MEASURES: Final = {
    "item_coverage": "items covered",
    "duplicate_share": "duplicates",
    "copy_share": "copies of real people",
    "near_copy_share": "near copies",
    "attack_auc": "attack area (0.5: guessing)",
    "attack_tpr_at_1_percent_fpr": "found at 1 % false alarms",
}
"""What an audit measures, in words; other measures go by their names."""


def measure(name: str) -> str:
    """A measure of an audit in words."""
    return MEASURES.get(name, plain(name))


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage with its sign: +3.1 %; a dash where there is none."""
    return MISSING if value is None else f"{signed(100 * value, digits)} %"


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands; a dash where there is none."""
    return MISSING if value is None else f"{int(value):,}".replace(",", "\u202f")


def many(n: int, one: str, several: str | None = None) -> str:
    """A count with its noun: "1 user", "1 204 users"."""
    return f"{count(n)} {one if n == 1 else several or one + 's'}"


def relative(value: float | None, baseline: float | None) -> float | None:
    """How far `value` lies above `baseline`, as a share of it; nothing where that has no meaning."""
    if value is None or baseline is None or baseline == 0:
        return None
    return value / baseline - 1


def measured(
    arm: Mapping[str, Any] | None, metric: str, group: str = "all", split: str = "test"
) -> float | None:
    """One number of an arm of decision.json: its metric over all users, or in a slice."""
    return _group(arm, group, split).get(metric)


def users(arm: Mapping[str, Any] | None, group: str = "all", split: str = "test") -> int | None:
    """How many users an arm of decision.json was judged on, in all or in a slice."""
    return _group(arm, group, split).get("n_users")


def find_arm(decision: Mapping[str, Any], recommender: str, policy: str | None) -> dict[str, Any] | None:
    """The arm of decision.json with this recommender and policy."""
    for arm in decision.get("arms", []):
        if (arm["recommender"], arm["policy"]) == (recommender, policy):
            return arm
    return None


def _group(arm: Mapping[str, Any] | None, group: str, split: str) -> Mapping[str, Any]:
    measures = (arm or {}).get(split) or {}
    if group in ("all", "overall"):
        return measures.get("overall") or {}
    return (measures.get("slices") or {}).get(group) or {}
