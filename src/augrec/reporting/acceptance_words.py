"""What is said, before generators train, of how often the gate accepted generated data before."""

from __future__ import annotations

from collections.abc import Mapping

from augrec.evaluation.acceptance import Acceptance, samples


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
    about = f"about 1 in {_one_in(found.chance)} and " if found.accepted_anywhere else ""
    chance = f"{about}at most 1 in {_one_in(found.at_most)} (95 % bound)"
    here = (
        f"The chance here is {chance}."
        if found.measured
        else f"For such data as were measured the chance is {chance}; for these nobody knows."
    )
    return (
        f"{measured_anywhere()}; {_of_this_size(found)}. {here} {cost}`run.generators: []` skips "
        "generated data."
    )


def measured_anywhere() -> str:
    """The counts over all samples, a sentence without its full stop."""
    users = [one.users for one in samples()]
    passed = sum(one.accepted for one in samples())
    return (
        f"Generated users passed the gate in {passed} of {len(users)} measured samples, of "
        f"{min(users):,} to {max(users):,} users"
    )


def _of_this_size(found: Acceptance) -> str:
    if not found.measured:
        return "none was of about the size of this data"
    were = "was" if found.measured == 1 else "were"
    return f"{found.measured} {were} of about the size of this data, with {found.accepted} passes"


def _one_in(chance: float) -> str:
    """N of "1 in N"; one digit below 5."""
    return f"{1 / chance:.0f}" if chance < 0.2 else f"{1 / chance:.1f}"


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes >= 90:
        return f"{minutes / 60:.0f} hours of CPU time"
    return "a minute of CPU time" if minutes == 1 else f"{minutes} minutes of CPU time"
