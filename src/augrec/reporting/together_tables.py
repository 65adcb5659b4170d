"""What serves people who decide together, and what that was held against, as sentences and
tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from augrec.reporting.words import many, number, plain, signed

KINDS: Final = {
    "persistent": "groups with choices of their own",
    "ad_hoc": "groups known by their members alone",
}
CONTROLS: Final = {
    "alone": "one member alone",
    "average": "the members' average",
    "shuffled": "members of other groups",
}
_NAMES: Final = {"alone": CONTROLS["alone"], "popular": "popular among groups"}


def together(decision: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the report shows of groups; None: the run has no tables of them.

    facts: a sentence; rows: {"kind", "size", "n", "sentence", "differences"}; tables: for each kind
    a title and rows of a strategy's name and its numbers.
    """
    found = decision.get("together")
    if found is None:
        return None
    facts = (
        f"{many(found['n_groups'], 'group')} with {many(found['n_choices'], 'choice')}, judged on "
        f"{many(found['n']['valid'], 'group')} for validation and "
        f"{many(found['n']['test'], 'group')} for test"
    )
    return {
        "facts": facts,
        "rows": [_row(row) for row in found["rows"]],
        "tables": [
            (KINDS[row["kind"]], _strategies(row)) for row in found["rows"] if row["size"] == "all"
        ],
    }


def sentences(decision: Mapping[str, Any]) -> list[str]:
    """For each kind of group, what serves it and why; none without tables of groups."""
    rows = (decision.get("together") or {}).get("rows", [])
    return [f"{_who(row)}: {_sentence(row)}" for row in rows if row["size"] == "all"]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "who": _who(row),
        "n": row["n_test"],
        "sentence": _sentence(row),
        "differences": [
            (CONTROLS[name], signed(change), f"{signed(low)} … {signed(high)}")
            for name, (change, low, high) in row["differences"].items()
        ],
    }


def _who(row: Mapping[str, Any]) -> str:
    kind = KINDS[row["kind"]]
    return kind if row["size"] == "all" else f"{kind}, {row['size']} members"


def _sentence(row: Mapping[str, Any]) -> str:
    if row["chosen"] is None:
        return "too few groups to decide anything; the members' average serves"
    chosen = plain(row["chosen"])
    if row["promoted"]:
        return f"{chosen}, chosen on validation, is better than every control on test, and serves"
    lost = [CONTROLS[name] for name, (_, low, _) in row["differences"].items() if low <= 0]
    serves = "it serves all the same" if row["chosen"] == "average" else "the average serves"
    return f"{chosen}, chosen on validation, is not shown to beat {' or '.join(lost)}; {serves}"


def _strategies(row: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Each strategy: validation, test, with members of other groups, with strangers, and the mean
    and worst member's own taste."""
    test, valid, members = row["test"], row["valid"], row["members"]
    names = sorted((name for name in test if "," not in name), key=lambda one: -(test[one] or 0.0))
    return [
        (
            _NAMES.get(name, plain(name)),
            [
                number(valid.get(name)),
                number(test[name]),
                number(test.get(f"{name}, shuffled")),
                number(test.get(f"{name}, strangers")),
                number((members.get(name) or {}).get("mean")),
                number((members.get(name) or {}).get("worst")),
            ],
        )
        for name in names
    ]
