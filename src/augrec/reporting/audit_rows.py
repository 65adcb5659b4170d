"""What an audit measured, as tables: each number beside what a flawless sample would give, and what
it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from augrec.reporting.words import MISSING, between, measure, number

_Line = tuple[str, str | float | None, str]
"""A measure, what a flawless sample gives (a number, the measure that holds it, or None: nothing),
and what it tells, with places for names that the audit found."""

_NAMED: Final = ("attribute_disclosed", "leak_worst")

_ALIKE: Final[tuple[_Line, ...]] = (
    ("popularity_correlation", 1.0, "Are the same items popular? Pearson correlation."),
    (
        "popularity_rank_correlation",
        1.0,
        "The same by rank, rare items included. Spearman correlation.",
    ),
    ("pair_correlation", 1.0, "Do the same items go together? 0: by popularity alone."),
    ("length_ks", 0.0, "Largest gap between the distributions of profile lengths."),
    (
        "length_distance",
        0.0,
        "How far lengths would have to move, in mean real lengths (Wasserstein distance).",
    ),
    ("event_distance", 0.0, "Views, purchases, ratings: share that would have to change."),
    ("value_ks", 0.0, "Largest gap between the distributions of ratings or prices."),
    ("gap_ks", 0.0, "The same for the time between two interactions."),
    ("category_distance", 0.0, "Share of category choices that would have to change."),
    (
        "cluster_distance",
        "cluster_distance_chance",
        "Are the kinds of people as frequent? k-means on both together.",
    ),
    (
        "c2st_accuracy",
        0.5,
        "How often a classifier tells real from synthetic (Lopez-Paz & Oquab 2017).",
    ),
    ("c2st_auc", 0.5, "Area under the ROC curve of the same classifier."),
    ("later_share", 0.0, "Synthetic rows later than any real training row."),
    (
        "untouched_share",
        0.0,
        "Rows with items that nobody touched; they are set aside before all else is measured.",
    ),
)
_VARIED: Final[tuple[_Line, ...]] = (
    (
        "precision",
        "precision_real",
        "Synthetic people who stand among real ones (Kynkäänniemi et al. 2019).",
    ),
    ("recall", "recall_real", "Real people who stand among synthetic ones (the same)."),
    ("density", 1.0, "How crowded the places are that synthetic people take (Naeem et al. 2020)."),
    ("coverage", "coverage_expected", "Real people with a synthetic one close by (the same)."),
    ("effective_modes", "effective_modes_real", "Kinds of people, counted by their shares."),
    (
        "effective_neighbours",
        "effective_neighbours_real",
        "Different real people that the sample is near to.",
    ),
    (
        "self_similarity",
        "self_similarity_real",
        "Likeness to the nearest other person of the sample.",
    ),
    ("item_coverage", 1.0, "Share of the items that real people touched."),
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
        "Can the sample tell who was learned from? Beside it: the attack on people made up by "
        "popularity.",
    ),
    (
        "attack_auc_plain",
        0.5,
        "The attack by likeness to the sample. The stronger one, its chance success taken off, "
        "counts.",
    ),
    (
        "attack_auc_calibrated",
        0.5,
        "The attack by how far that likeness exceeds the likeness to other real people.",
    ),
    (
        "attack_tpr_at_1_percent_fpr",
        0.01,
        "People found where one in a hundred is accused wrongly (Carlini et al. 2022).",
    ),
    (
        "singled_out_share",
        0.01,
        "Synthetic people near to one real person and to nobody else: copies, changed a little.",
    ),
    (
        "copy_share",
        "copy_share_bias",
        "Synthetic profiles equal to a real one; beside it, how often two real people are.",
    ),
    (
        "copy_share_held_out",
        "copy_share_bias",
        "The same for held-out people: nobody learned from them, so it is chance.",
    ),
    ("near_copy_share", 0.0, "Synthetic profiles almost equal to a real one."),
    (
        "item_disclosure",
        0.0,
        "Of half of a person's items the rest is guessed: how much better for those it learned "
        "from (Giomi et al. 2023).",
    ),
    (
        "item_disclosure_chance",
        None,
        "Share of these guesses that is right for people it never met.",
    ),
    (
        "attribute_disclosure",
        0.0,
        "The same for the attribute that is given away most{attribute_disclosed}.",
    ),
    (
        "attribute_disclosure_chance",
        None,
        "Share of these guesses that is right for people it never met.",
    ),
    (
        "nearest_training",
        "nearest_held_out",
        "Likeness to the nearest person learned from; beside it, to the nearest never seen. No "
        "evidence by itself.",
    ),
)
_LEAK: Final[tuple[_Line, ...]] = (
    (
        "leak_singled_out_share",
        0.01,
        "Synthetic people near to one held-out person and to nobody else.",
    ),
    (
        "leak_auc",
        0.5,
        "Are held-out people nearer to the sample than those it learned from? Above 0.5 they are. "
        "The worst group{leak_worst}.",
    ),
)
_EXTENDED: Final[tuple[_Line, ...]] = (
    (
        "left_popularity_correlation",
        "left_popularity_correlation_real",
        "Are the same items popular as at the beginning of real histories? Beside it: two halves "
        "of real people.",
    ),
    (
        "left_pair_correlation",
        "left_pair_correlation_real",
        "Do they go with the rest of the history as real ones do? 0: they do not depend on it.",
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
    ("new_item_coverage", 1.0, "Share of the new items that somebody of the sample met."),
    (
        "new_item_popularity",
        1.0,
        "Interactions of the mean new item over those of the mean known one.",
    ),
    (
        "new_category_match",
        "new_category_match_real",
        "Met by people with known items of a category of theirs; beside it, real rows and the "
        "person's other items.",
    ),
)


@dataclass(frozen=True)
class Row:
    """One measure: its words, what was found and how sure that is, what a flawless sample gives,
    what it tells."""

    name: str
    found: str
    interval: str
    flawless: str
    tells: str


def sections(verdict: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The tables of an audit.json by name; measures it does not hold are left out."""
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
    for name, flawless, tells in lines:
        if measures.get(name) is not None:
            best = measures.get(flawless) if isinstance(flawless, str) else flawless
            rows.append(
                Row(
                    measure(name),
                    number(measures[name]),
                    between(measures, name, missing=""),
                    MISSING if best is None else number(best),
                    tells.format_map(names),
                )
            )
    return rows
