"""What is said, before generators train, of how often the gate accepted generated data before."""

from __future__ import annotations

from collections.abc import Mapping

from augrec.evaluation.acceptance import Acceptance, sizes

SKIP = "`run.generators: []` skips generated data"


def before_training(found: Acceptance, seconds: Mapping[str, float | None]) -> str:
    """What to expect of generated data, and what it costs to find out.

    Args:
        found: of data about the size of the run's.
        seconds: of CPU time, for each generator of the run; None: not measured.
    """
    known = [one for one in seconds.values() if one is not None]
    cost = ""
    if known:
        least = "at least " if len(known) < len(seconds) else ""
        cost = f"Training {', '.join(seconds)} takes {least}about {_duration(sum(known))}; "
    bound = f", and at most 1 in {_one_in(found.at_most)} by a 95 % bound" if found.measured else ""
    return f"{measured(found)}{bound}. {cost}{SKIP}."


def measured(found: Acceptance) -> str:
    """The counts and the chance, a sentence without its full stop."""
    if found.measured:
        return (
            f"Of {found.measured} measured samples of about the size of this data, generated users "
            f"passed the gate in {found.accepted}: the chance is about 1 in "
            f"{_one_in(found.chance)}"
        )
    least, most = sizes()
    return (
        f"No sample of about the size of this data was measured; of all "
        f"{found.measured_anywhere}, with {least:,} to {most:,} users, generated users passed the "
        f"gate in {found.accepted_anywhere}"
    )


def _one_in(chance: float) -> str:
    """N of "1 in N"; one digit below 5."""
    return f"{1 / chance:.0f}" if chance < 0.2 else f"{1 / chance:.1f}"


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes >= 90:
        return f"{minutes / 60:.0f} hours of CPU time"
    return "a minute of CPU time" if minutes == 1 else f"{minutes} minutes of CPU time"
