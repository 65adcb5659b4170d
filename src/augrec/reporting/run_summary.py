"""The summary of a run in the terminal: results, the gate's decision, and where to look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from augrec.data.slices import SLICES
from augrec.reporting.words import KINDS, LEFT_OUT, measured, metric_words, number

FINDING: Final = "recall@20"

_PLACES: Final = ("report", "airflow", "mlflow", "service")
_COLOURS: Final = {"real": "blue", "placebo": "yellow", "generated": "green"}
_HEADINGS: Final = {"0": "0", "1-5": "1–5", "6-20": "6–20", "21+": "more"}


def table(
    decision: Mapping[str, Any],
    restored: Mapping[str, bool] | None = None,
    places: Mapping[str, Any] | None = None,
) -> RenderableType:
    """What to print when a run has ended; it fits 80 columns, but for paths: print it with
    crop=False.

    Args:
        decision: decision.json.
        restored: for each stage, as "stage" or "stage@member": whether it was restored instead of
            run; optional.
        places: airflow, mlflow (URLs), report (path), version (registered, or None), champion
            (whether it became the champion), note (why it was not registered or promoted); each is
            optional.
    """
    parts: list[RenderableType] = [_numbers(decision), Text(_legend(decision), "dim")]
    parts += [_described(name, text) for name, text in (decision.get("policies") or {}).items()]
    for one in decision.get("left_out", []):
        kind = LEFT_OUT[one["room"]]
        parts.append(Text(f"left out: {kind} {one['name']}, {one['reason']}", "dim"))
    parts.append("")
    parts += [Padding(Text(sentence), (0, 0, 0, 2)) for sentence in decision["sentences"]]
    parts.append("")
    if restored:
        parts.append(_fact("stages", _stages(restored)))
    parts += [_fact(name, text) for name, text in _where(places or {})]
    return Group(*parts)


def _legend(decision: Mapping[str, Any]) -> str:
    metric = metric_words(decision["gate"]["metric"])
    return (
        "▶ the winner · green: best of its recommender · every number is the mean of a model's "
        f"trainings\nvalid: {metric} on validation users, who chose; all else on test users\n"
        f"0 … more: {metric} of users with this number of known items"
    )


def _numbers(decision: Mapping[str, Any]) -> Table:
    ranking = decision["gate"]["metric"]
    rows = Table(
        title="How good each model is",
        title_style="bold",
        title_justify="left",
        box=None,
        pad_edge=False,
        collapse_padding=True,
        padding=(0, 1),
    )
    rows.add_column("recommender\n  policy", no_wrap=True, overflow="ellipsis", max_width=26)
    rows.add_column("data", no_wrap=True)
    for name in (
        "valid",
        *(metric_words(name).replace("@", "\n@") for name in (ranking, FINDING)),
        *(_HEADINGS[name] for name in SLICES),
    ):
        rows.add_column(name, justify="right", no_wrap=True)
    arms, winner = decision["arms"], decision["winner"]
    for recommender in dict.fromkeys(arm["recommender"] for arm in arms):
        mine = [arm for arm in arms if arm["recommender"] == recommender]
        columns = [_column(mine, ranking, "all", "valid")]
        columns += [_column(mine, ranking, "all"), _column(mine, FINDING, "all")]
        columns += [_column(mine, ranking, name) for name in SLICES]
        rows.add_row(Text(recommender, "bold"))
        for place, arm in enumerate(mine):
            won = (recommender, arm["policy"]) == (winner["recommender"], winner["policy"])
            rows.add_row(
                Text(f"{'▶' if won else ' '} {arm['policy']}", style="bold" if won else ""),
                Text(KINDS[arm["kind"]], _COLOURS[arm["kind"]]),
                *(column[place] for column in columns),
            )
        rows.add_row()
    for one in decision.get("left_out", []):
        if one["room"] == "recommenders":
            rows.add_row(Text(one["name"], "bold"), Text("left out", "dim"))
    return rows


def _column(
    arms: Iterable[Mapping[str, Any]], metric: str, group: str, split: str = "test"
) -> list[Text]:
    """A recommender's numbers in one column; the best is bold unless all are the same."""
    values = [measured(arm, metric, group, split) for arm in arms]
    shown = [number(value) for value in values]
    best = number(max((value for value in values if value is not None), default=None))
    return [
        Text(text, "bold green" if text == best and len(set(shown)) > 1 else "") for text in shown
    ]


def _described(policy: str, text: str) -> RenderableType:
    row = Table.grid()
    row.add_column(no_wrap=True)
    row.add_column()
    row.add_row(Text(f"{policy}: ", "dim"), Text(text, "dim"))
    return row


def _stages(restored: Mapping[str, bool]) -> str:
    """How many stages were restored, and which ran: "4 of 6 restored …; ran: train (2)"."""
    ran: dict[str, int] = {}
    for name, was_restored in restored.items():
        if not was_restored:
            stage = name.partition("@")[0]
            ran[stage] = ran.get(stage, 0) + 1
    listed = ", ".join(stage if n == 1 else f"{stage} ({n})" for stage, n in ran.items())
    total, n_ran = len(restored), sum(ran.values())
    if not ran:
        return f"all {total} restored from the cache: nothing they depend on has changed"
    if n_ran == total:
        return (
            f"all {total} ran; a later run restores those whose data, parameters and code are the "
            "same"
        )
    return f"{total - n_ran} of {total} restored from the cache; ran: {listed}"


def _where(places: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = []
    if places.get("version") is not None:
        role = "the champion" if places.get("champion") else "registered, not the champion"
        note = "" if places.get("champion") or not places.get("note") else f": {places['note']}"
        facts.append(("version", f"{places['version']}, {role}{note}"))
    elif places.get("note"):
        facts.append(("version", f"none: {places['note']}"))
    facts += [(name, str(places[name])) for name in _PLACES if places.get(name)]
    return facts


def _fact(name: str, text: str) -> RenderableType:
    label = Text(f"  {name:<8}", "dim")
    if name in _PLACES:  # never broken, so that it can be copied or clicked
        return Text.assemble(label, text, no_wrap=True, overflow="ignore")
    row = Table.grid()
    row.add_column(no_wrap=True)
    row.add_column()
    row.add_row(label, Text(text))
    return row
