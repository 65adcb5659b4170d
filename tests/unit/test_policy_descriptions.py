"""Each policy has a short plain description, which report, page, table and form show."""

from __future__ import annotations

from pathlib import Path

from augrec.augmentation.base import Policy
from augrec.core.config import read_params
from augrec.core.policies import description_of, steps_of
from augrec.orchestration.form import fields

PARAMS = read_params(Path(__file__).parents[2])
POLICIES = PARAMS["policies"]


def test_every_policy_of_params_is_described_in_a_few_plain_words() -> None:
    for name, written in POLICIES.items():
        words = written["description"]
        assert 2 < len(words.split()) <= 16 and not words.endswith("."), name
        assert name.replace("_", " ") == name or name not in words
    assert len({written["description"] for written in POLICIES.values()}) == len(POLICIES)


def test_a_policy_may_be_a_list_of_operations_as_before() -> None:
    steps = [{"truncate": {"ratio": 1.0}}, {"mix": {"sample": "profile_gan"}}]
    for written in (steps, {"steps": steps}, {"description": "x", "steps": steps}):
        assert steps_of(written) == steps
        assert Policy("own", steps_of(written), seed=1).kind == "generated"
    assert description_of(steps) == "truncate, mix"
    assert description_of({"description": "x", "steps": steps}) == "x"
    assert steps_of(None) == [] and description_of([]) == "the real data as it is"


def test_the_trigger_form_says_what_each_policy_does() -> None:
    shown = fields(PARAMS)["policies"].schema["values_display"]
    assert shown["none"] == f"none: {POLICIES['none']['description']}"
    assert set(shown) == set(POLICIES)
