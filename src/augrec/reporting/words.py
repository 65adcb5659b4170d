"""Names and numbers as they are shown in the report, the terminal and the approval screen."""

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
ITEM_GROUPS: Final = {
    "head": "the most popular items",
    "mid": "items in between",
    "tail": "the least popular items",
    "new": "new items",
}
_METRIC_WORDS: Final = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "map": "MAP",
    "mrr": "MRR",
    "f1": "F1",
    "hit_rate": "Hit rate",
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


def policy_words(decision: Mapping[str, Any], policy: str) -> str:
    """What a policy does, as params.yaml describes it; empty where it does not."""
    return str((decision.get("policies") or {}).get(policy, ""))


def slice_words(name: str) -> str:
    """A slice of users: "1-5" becomes "1–5 known items"."""
    return _SLICE_WORDS.get(name, name)


def crowd(name: str) -> str:
    """The users of a slice: "1-5" becomes "users with 1–5 known items", "all" becomes "all
    users"."""
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


def interval(row: Mapping[str, Any]) -> str:
    """A comparison's difference: "difference −0.009, interval −0.043 to +0.024"."""
    return (
        f"difference {signed(row['difference'])}, interval {signed(row['ci_low'])} to "
        f"{signed(row['ci_high'])}"
    )


def than(value: float, other: float) -> str:
    """How one mean compares with another: "1.2 % worse than"; "as good as" where they are shown as
    the same number."""
    if f"{value:.3f}" == f"{other:.3f}":
        return "as good as"
    if not other:
        return "better than"
    return (
        f"{rounded(abs(100 * (value / other - 1)))} % {'better' if value > other else 'worse'} than"
    )


def rounded(value: float) -> str:
    """To two figures where it is below 10, else to a whole number."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


LEFT_OUT: Final = {
    "generators": "generator",
    "policies": "policy",
    "recommenders": "recommender",
}
"""What is left out of a run, by its `room`."""

MEASURES: Final = {
    "popularity_correlation": "popularity of items",
    "popularity_rank_correlation": "popularity by rank",
    "pair_correlation": "pairs of items",
    "beyond_popularity": "beyond popularity",
    "length_ks": "profile lengths",
    "length_distance": "profile lengths, distance",
    "event_distance": "events",
    "value_ks": "values",
    "gap_ks": "time gaps",
    "category_distance": "categories",
    "cluster_distance": "user clusters",
    "c2st_accuracy": "real or synthetic, accuracy",
    "c2st_auc": "real or synthetic, AUC",
    "later_share": "later than training",
    "untouched_share": "items without interactions",
    "effective_modes": "effective clusters",
    "effective_neighbours": "effective neighbours",
    "self_similarity": "likeness within",
    "item_coverage": "items covered",
    "duplicate_share": "duplicates",
    "copy_share": "copies of real users",
    "copy_share_held_out": "held-out users who are copies",
    "near_copy_share": "near copies",
    "singled_out_share": "real users singled out",
    "attack_auc": "attack AUC (0.5: guessing)",
    "attack_auc_plain": "attack by likeness",
    "attack_auc_calibrated": "attack by unusual likeness",
    "attack_tpr_at_1_percent_fpr": "found at 1 % false positives",
    "item_disclosure": "hidden items disclosed",
    "item_disclosure_chance": "hidden items, by chance",
    "attribute_disclosure": "attributes disclosed",
    "attribute_disclosure_chance": "attributes, by chance",
    "nearest_training": "nearest training user",
    "leak_singled_out_share": "held-out users singled out",
    "leak_auc": "held-out users nearer (0.5: as near)",
    "left_popularity_correlation": "before: popularity of items",
    "left_pair_correlation": "before: pairs with the history",
    "right_popularity_correlation": "after: popularity of items",
    "right_pair_correlation": "after: pairs with the history",
    "new_item_coverage": "new items covered",
    "new_item_popularity": "popularity of new items",
    "new_category_match": "new items by category",
    "tstr": "trained on synthetic",
    "trtr": "trained on real",
    "tstr_ratio": "utility kept",
}
"""Words for an audit's measures; other measures are shown by their names."""


def measure(name: str) -> str:
    """A measure of an audit in words."""
    return MEASURES.get(name, plain(name))


def between(
    measures: Mapping[str, Any], name: str, *, missing: str = MISSING, signed: bool = False
) -> str:
    """A measure's interval: "0.52 to 0.61"; `missing` where it has none."""
    ends = [measures.get(f"{name}{end}") for end in ("_low", "_high")]
    if any(end is None for end in ends):
        return missing
    return " to ".join(_with_sign(end) if signed else number(end) for end in ends)


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage with its sign: +3.1 %; a dash where there is none."""
    return MISSING if value is None else f"{signed(100 * value, digits)} %"


def _with_sign(value: float | None) -> str:
    return signed(value)


def count(value: float | None) -> str:
    """A whole number with commas between thousands; a dash where there is none."""
    return MISSING if value is None else f"{int(value):,}"


def many(n: int, one: str, several: str | None = None) -> str:
    """A count with its noun: "1 user", "1 204 users"."""
    return f"{count(n)} {one if n == 1 else several or one + 's'}"


def relative(value: float | None, baseline: float | None) -> float | None:
    """`value` relative to `baseline`, minus 1; None where that is undefined."""
    if value is None or baseline is None or baseline == 0:
        return None
    return value / baseline - 1


def measured(
    arm: Mapping[str, Any] | None, metric: str, group: str = "all", split: str = "test"
) -> float | None:
    """One number of an arm of decision.json: its metric over all users, or in a slice."""
    return _group(arm, group, split).get(metric)


def users(arm: Mapping[str, Any] | None, group: str = "all", split: str = "test") -> int | None:
    """The number of users an arm of decision.json was evaluated on, overall or in a slice."""
    return _group(arm, group, split).get("n_users")


def find_arm(
    decision: Mapping[str, Any], recommender: str, policy: str | None
) -> dict[str, Any] | None:
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
