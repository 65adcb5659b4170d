"""The gate: does any generated data earn its place, and which model is the candidate for
production?"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import polars as pl

from augrec.core.config import parse, read_params
from augrec.core.errors import InputError
from augrec.core.files import read_json, write_json
from augrec.core.policies import description_of
from augrec.data.columns import Columns as C
from augrec.data.group_tables import has_groups
from augrec.data.ranking import familiar_items
from augrec.data.split import TEST, VALID
from augrec.evaluation import repetitions
from augrec.evaluation.arm import Arm
from augrec.evaluation.config import EvaluationConfig, GateConfig
from augrec.evaluation.gate import decide
from augrec.evaluation.user_means import groups_of_users
from augrec.reporting.decision_words import with_sentences
from augrec.reporting.together_tables import sentences
from augrec.stages import _left_out
from augrec.stages._inputs import TRAINING_SET, read_audits, read_table
from augrec.stages.runner import run

_log = logging.getLogger(__name__)
PREPARED = Path("data/prepared")
_CHOSEN_BY = ("overall", "slices", "catalogue")


def main() -> None:
    """Write reports/decision.json and reports/report.html from what the run's recommenders ×
    policies measured.

    Only those of `run` in params.yaml are read; whatever else lies in the folders belongs to other
    runs.
    """
    from augrec.reporting import report  # imports the plotting libraries

    params = read_params()
    gate = parse(GateConfig, params["gate"], "gate")
    named = params["run"]
    pairs = [(r, p) for r in named["recommenders"] for p in named["policies"]]
    left_out = _all_left_out(named["generators"], pairs)
    pairs = [pair for pair in pairs if _left_out.read(_evaluated(*pair)) is None]
    arms = [_arm(recommender, policy) for recommender, policy in pairs]
    per_user = {pair: _measured(*pair) for pair in pairs}
    audits = read_audits({name for arm in arms for name in arm.generators})
    cases = read_table(TRAINING_SET / f"cases_{TEST}.parquet", "training_set")
    evaluation = parse(EvaluationConfig, params["evaluation"], "evaluation")
    groups = groups_of_users(cases, max_groups=evaluation.max_groups)
    policies = {name: description_of(params["policies"][name]) for name in named["policies"]}
    decided = decide(arms, per_user, audits, gate, params["seed"], groups)
    refit = _refit() if named.get("refit", True) else None
    decision = with_sentences({**decided, "policies": policies, **_reach(cases), "refit": refit})
    decision["left_out"] = [asdict(one) for one in left_out]
    decision["chosen"] = named.get("chosen") or []
    decision["advice"] = named.get("advice")
    if has_groups(PREPARED):
        from augrec.stages._together import trial_of  # most runs have no such tables

        winner = Path(decision["winner"]["model"])
        decision["together"] = trial_of(PREPARED, winner, gate, params["seed"])
    further = sentences(decision)
    for sentence in [*decision["chosen"], *map(str, left_out), *decision["sentences"], *further]:
        _log.info(sentence)
    write_json(Path("reports/decision.json"), decision)
    report.write(Path("reports/report.html"), decision, Path())


def _reach(cases: pl.DataFrame) -> dict[str, float | None]:
    """The share of what test cases want that training rows hold at all; None where there is nothing
    to want, or where new items are what is asked for."""
    catalogue = pl.read_parquet("data/prepared/train.parquet", columns=[C.ITEM])[C.ITEM].unique()
    wanted = cases["targets"].explode().drop_nulls()
    if wanted.is_empty() or familiar_items(Path("data/prepared")) is not None:
        return {"known_targets": None}
    return {"known_targets": float(wanted.is_in(catalogue.implode()).mean())}  # type: ignore[arg-type]


def _refit() -> dict[str, int]:
    """How many real interactions were trained on, and how many there are."""
    counted = (
        pl.scan_parquet(f"data/prepared/{name}.parquet").select(pl.len()).collect().item()
        for name in ("train", "interactions")
    )
    return dict(zip(("n_training", "n_all"), counted, strict=True))


def _all_left_out(
    generators: Iterable[str], pairs: Iterable[tuple[str, str]]
) -> list[_left_out.LeftOut]:
    """Every generator, policy and recommender of the run that takes no part, each once."""
    places = [Path("data/synthetic") / name for name in generators]
    places += [_evaluated(*pair) for pair in pairs]
    return list(dict.fromkeys(one for place in places if (one := _left_out.read(place))))


def _arm(recommender: str, policy: str) -> Arm:
    training = read_json(
        _present(Path("models/recommenders") / recommender / policy / "training.json")
    )
    made = training["policy"]
    metrics = read_json(_present(_evaluated(recommender, policy) / "metrics.json"))
    return Arm(
        recommender=recommender,
        policy=policy,
        kind=made["kind"],
        generators=tuple(made["samples"]),
        steps=training.get("steps"),
        cost=training["cost"],
        continues=(training.get("start") or {}).get("version") is not None,
        regularisation=(training.get("tuning") or {}).get("chosen") or {},
        membership=read_json(_present(_evaluated(recommender, policy) / "membership.json")),
        catalogue={split: metrics[split]["catalogue"] for split in (VALID, TEST)},
        # of validation users only what the choice can rest on
        breakdowns={
            TEST: {name: part for name, part in metrics[TEST].items() if name not in _CHOSEN_BY}
        },
    )


def _measured(recommender: str, policy: str) -> list[pl.DataFrame]:
    """A table for each repetition."""
    folder = _evaluated(recommender, policy)
    _present(folder / "per_user.parquet")
    return repetitions.read(folder)


def _evaluated(recommender: str, policy: str) -> Path:
    return Path("reports/evaluation") / recommender / policy


def _present(path: Path) -> Path:
    if not path.exists():
        raise InputError(
            "a result of this run is missing",
            where=str(path),
            fix="run the stages before decide: dvc repro",
        )
    return path


if __name__ == "__main__":
    run(main)
