"""An audit's measures as tables: each value, what an ideal sample would give, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from augrec.reporting.words import MISSING, between, measure, number

_Line = tuple[str, str | float | None, str]
"""A measure; the value of an ideal sample (a number, the measure that holds it, or None); and what
it means, with placeholders for names that the audit found."""

_NAMED: Final = ("attribute_disclosed", "leak_worst")

_ALIKE: Final[tuple[_Line, ...]] = (
    ("popularity_correlation", 1.0, "Are the same items popular? Pearson correlation."),
    (
        "popularity_rank_correlation",
        1.0,
        "The same by rank, rare items included. Spearman correlation.",
    ),
    ("pair_correlation", 1.0, "Do the same items go together?"),
    (
        "beyond_popularity",
        1.0,
        "The same, between users drawn by popularity (0: nothing else was learnt) and real ones.",
    ),
    ("length_ks", 0.0, "Largest gap between the distributions of profile lengths."),
    (
        "length_distance",
        0.0,
        "Wasserstein distance of the lengths, in mean real lengths.",
    ),
    ("event_distance", 0.0, "Views, purchases, ratings: share that would have to change."),
    ("value_ks", 0.0, "Largest gap between the distributions of ratings or prices."),
    ("gap_ks", 0.0, "The same for the time between two interactions."),
    ("category_distance", 0.0, "Share of category choices that would have to change."),
    (
        "cluster_distance",
        "cluster_distance_chance",
        "Are the clusters of users as frequent? k-means on both together.",
    ),
    (
        "c2st_accuracy",
        0.5,
        "Accuracy of a classifier of real and synthetic users (Lopez-Paz & Oquab 2017).",
    ),
    ("c2st_auc", 0.5, "Area under the ROC curve of the same classifier."),
    ("later_share", 0.0, "Synthetic rows later than any real training row."),
    (
        "untouched_share",
        0.0,
        "Rows with items without interactions; they are removed before anything else is measured.",
    ),
)
_VARIED: Final[tuple[_Line, ...]] = (
    (
        "precision",
        "precision_real",
        "Synthetic users among real ones (Kynkäänniemi et al. 2019).",
    ),
    ("recall", "recall_real", "Real users among synthetic ones (the same)."),
    ("density", 1.0, "Density of real users around synthetic ones (Naeem et al. 2020)."),
    ("coverage", "coverage_expected", "Real users with a synthetic one nearby (the same)."),
    (
        "effective_modes",
        "effective_modes_real",
        "Number of clusters of users, weighted by their shares.",
    ),
    (
        "effective_neighbours",
        "effective_neighbours_real",
        "Number of real users that the sample is near to.",
    ),
    (
        "self_similarity",
        "self_similarity_real",
        "Likeness to the nearest other user of the sample.",
    ),
    ("item_coverage", 1.0, "Share of the items of real users."),
    (
        "duplicate_share",
        "duplicate_share_bias",
        "Profiles that equal an earlier one of the sample.",
    ),
)
_PRIVATE: Final[tuple[_Line, ...]] = (
    (
        "attack_auc",
        "control_auc",
        "Does the sample disclose who was trained on? Ideal: the same attack with users drawn by "
        "popularity.",
    ),
    (
        "attack_auc_plain",
        0.5,
        "The attack by likeness to the sample. The stronger attack counts, minus its bias.",
    ),
    (
        "attack_auc_calibrated",
        0.5,
        "The attack by how far that likeness exceeds the likeness to other real users.",
    ),
    (
        "attack_tpr_at_1_percent_fpr",
        0.01,
        "Members found at 1 % false positives (Carlini et al. 2022).",
    ),
    (
        "singled_out_share",
        0.01,
        "Synthetic users near to one real user and to no other: slightly changed copies.",
    ),
    (
        "copy_share",
        "copy_share_bias",
        "Synthetic profiles equal to a real one. Ideal: how often two real users are equal.",
    ),
    (
        "copy_share_held_out",
        "copy_share_bias",
        "The same for held-out users, who were not trained on: the chance level.",
    ),
    ("near_copy_share", 0.0, "Synthetic profiles almost equal to a real one."),
    (
        "item_disclosure",
        0.0,
        "The rest of a user's items is guessed from half of them: how much better for training "
        "users (Giomi et al. 2023).",
    ),
    (
        "item_disclosure_chance",
        None,
        "Share of these guesses that is right for users who were not trained on.",
    ),
    (
        "attribute_disclosure",
        0.0,
        "The same for the attribute that is disclosed most{attribute_disclosed}.",
    ),
    (
        "attribute_disclosure_chance",
        None,
        "Share of these guesses that is right for users who were not trained on.",
    ),
    (
        "nearest_training",
        "nearest_held_out",
        "Likeness to the nearest training user. Ideal: to the nearest held-out user. Not "
        "conclusive by itself.",
    ),
)
_LEAK: Final[tuple[_Line, ...]] = (
    (
        "leak_singled_out_share",
        0.01,
        "Synthetic users near to one held-out user and to no other.",
    ),
    (
        "leak_auc",
        0.5,
        "Are held-out users nearer to the sample than training users? Above 0.5 they are. The "
        "worst group{leak_worst}.",
    ),
)
_EXTENDED: Final[tuple[_Line, ...]] = (
    (
        "left_popularity_correlation",
        "left_popularity_correlation_real",
        "Are the same items popular as at the beginning of real histories? Ideal: two halves of "
        "real users.",
    ),
    (
        "left_pair_correlation",
        "left_pair_correlation_real",
        "Do they depend on the rest of the history as real ones do? 0: they do not.",
    ),
    (
        "right_popularity_correlation",
        "right_popularity_correlation_real",
        "The same of the end of real histories.",
    ),
    (
        "right_pair_correlation",
        "right_pair_correlation_real",
        "The same of the end of real histories.",
    ),
)
_NEW: Final[tuple[_Line, ...]] = (
    ("new_item_coverage", 1.0, "Share of the new items in the sample."),
    (
        "new_item_popularity",
        1.0,
        "Interactions of the mean new item over those of the mean known one.",
    ),
    (
        "new_category_match",
        "new_category_match_real",
        "In a category of the user's known items. Ideal: real rows and the user's other items.",
    ),
)


@dataclass(frozen=True)
class Row:
    """One measure: its name in words, its value and interval, the value of an ideal sample, and
    what it means."""

    name: str
    found: str
    interval: str
    ideal: str
    meaning: str


def sections(verdict: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The tables of an audit.json by name; measures it does not have are left out."""
    parts = {
        "alike": ("fidelity", _ALIKE),
        "varied": ("diversity", _VARIED),
        "private": ("privacy", _PRIVATE),
        "leak": ("leak", _LEAK),
        "extended": ("extensions", _EXTENDED),
        "new": ("new_items", _NEW),
    }
    return {name: _rows(verdict.get(part) or {}, lines) for name, (part, lines) in parts.items()}


def _rows(measures: Mapping[str, Any], lines: tuple[_Line, ...]) -> list[Row]:
    rows = []
    names = {name: f": {measures[name]}" if measures.get(name) else "" for name in _NAMED}
    for name, ideal, meaning in lines:
        if measures.get(name) is not None:
            best = measures.get(ideal) if isinstance(ideal, str) else ideal
            rows.append(
                Row(
                    measure(name),
                    number(measures[name]),
                    between(measures, name, missing=""),
                    MISSING if best is None else number(best),
                    meaning.format_map(names),
                )
            )
    return rows
