"""`augrec serve` and `augrec report ab`: recommendations over HTTP, and how users responded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from augrec.cli.terminal import console
from augrec.core import settings as settings_

if TYPE_CHECKING:
    from augrec.serving.ab_report import Rate


def serve(
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Create and print an API key, and exit.")
    ] = False,
) -> None:
    """Serve the champion's recommendations over HTTP; a new champion is loaded automatically.

    The service listens on 127.0.0.1, port 8000. `augrec up` also starts it. Its page is at
    http://127.0.0.1:8000, the documentation of its API at /docs.

      $ augrec serve
      $ AUGREC_SERVING_PORT=9000 augrec serve
      $ augrec serve --new-key
    """
    if new_key:
        from augrec.serving.security import new_key as make

        key, hashed = make()
        console.print(f"key   {key}", highlight=False, soft_wrap=True)
        console.print(f"hash  {hashed}", highlight=False, soft_wrap=True)
        console.print(
            "Give the key to the caller. Add the hash to AUGREC_API_KEYS, or to the file named by "
            "AUGREC_API_KEYS_FILE. The key itself is not stored.",
            style="dim",
        )
        return
    from augrec.serving.server import serve as run

    run(settings_.load())


def show_comparison(conversions: str, since: str) -> None:
    """`augrec report ab`: print how users responded to the answers of champion and challenger."""
    from augrec.data.served_events import FILE
    from augrec.serving.ab_report import SIDES, compare
    from augrec.serving.answer_log import FOLDER

    here = settings_.load()
    counted = tuple(name.strip() for name in conversions.split(",") if name.strip())
    found = compare(here.var / FOLDER, here.var / FILE, conversions=counted, since=since)
    table = Table(title="Champion and challenger", title_justify="left", box=None, pad_edge=False)
    for name in ("", "version", "users", "answers", "click-through", "conversion"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("", "version") else "right")
    for name in SIDES:
        side = found.sides.get(name)
        if side is not None:
            rates = (_percent(side.click_through), _percent(side.conversion))
            table.add_row(
                name, ", ".join(side.versions), f"{side.users:,}", f"{side.answers:,}", *rates
            )
    if found.click_through is not None and found.conversion is not None:
        table.add_row(
            "difference", "", "", "", _percent(found.click_through), _percent(found.conversion)
        )
    console.print(table)
    if found.click_through is None:
        console.print(
            "Only one of the two has answered: serving.rollout in params.yaml splits the users.",
            style="dim",
        )
    if found.shadowed:
        console.print(
            f"{found.shadowed:,} answers of a challenger were logged without being shown.",
            style="dim",
        )
    console.print("In brackets: 95 % confidence intervals over users.", style="dim")


def _percent(rate: Rate) -> str:
    if math.isinf(rate.high - rate.low) or math.isnan(rate.value):
        return f"{rate.value:.2%} [–]"
    return f"{rate.value:.2%} [{rate.low:.2%}, {rate.high:.2%}]"
