"""What cannot run is refused when a run is planned, naming the place and what to write there."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from augrec.core.config import read_params
from augrec.core.errors import ConfigError
from augrec.stages import planning

HOME = Path(__file__).parents[2]
PARAMS = read_params(HOME)
NAMED = {
    "run.generators": ["profile_gan"],
    "run.policies": ["none", "bootstrap", "profile_gan"],
    "run.recommenders": ["popularity", "ease", "multvae"],
}


def test_a_run_needs_no_generator() -> None:
    policies = {"run.policies": ["none", "bootstrap"]}
    planning.check(HOME, NAMED | policies | {"run.generators": []})


def refused(overrides: dict[str, Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        planning.check(HOME, NAMED | overrides)
    return caught.value


@pytest.mark.parametrize(
    ("overrides", "what", "where", "fix"),
    [
        ({"run.recommenders": ["eas"]}, "no recommender called 'eas'", "run.recommenders", "ease?"),
        ({"run.generators": ["profil_gan"]}, "no generator", "run.generators", "profile_gan?"),
        ({"run.policies": ["nome"]}, "no policy called 'nome'", "run.policies", "none?"),
        ({"run.recommenders": []}, "name at least one", "params.yaml, run", "augrec config run"),
        ({"run.policies": ["none", "none"]}, "named twice: none", "params.yaml, run", ""),
        (
            {"run.generators": ["cfgan"]},
            "generator 'profile_gan'",
            "run.gen",
            "add `- profile_gan`",
        ),
        ({"run.policies": ["profile_gan"]}, "without generated data", "run.policies", "`- none`"),
        ({"run.repetitions": 0}, "run.repetitions", "params.yaml, run", ""),
        ({"run.repetitons": 2}, "no key run.repetitons", "params.yaml, run", "repetitions?"),
        ({"recomenders": {}}, "no section 'recomenders'", "params.yaml", "recommenders?"),
        ({"recommenders.eas": {}}, "no recommender called 'eas'", "recommenders", "ease?"),
        ({"recommenders.ease.L2": 3}, "no key recommenders.ease.L2", "recommenders.ease", "l2"),
        ({"recommenders.ease.l2": -1}, "recommenders.ease.l2", "recommenders.ease", "config"),
        ({"recommenders.ease.l2": float("nan")}, "finite", "recommenders.ease", ""),
        ({"recommenders.ease": 5}, "5 stands where keys", "recommenders.ease", "key: value"),
        ({"generators.profile_gan.packing": 7}, "packing", "generators.profile_gan", ""),
        ({"policies.none": "all"}, "'all' stands where a list", "policies.none", "- operation"),
        ({"policies.none": [3]}, "3 stands where keys", "policies.none[0]", ""),
        ({"policies.none": [{"truncat": {}}]}, "truncat", "params.yaml", "truncate?"),
        ({"policies.none": [{"truncate": {"ratio": -1}}]}, "ratio", "truncate", ""),
        ({"policies.none": [{"truncate": {"ratio": float("nan")}}]}, "ratio", "truncate", ""),
        (
            {"policies.none": [{"extend": {"sample": "profile_gan"}}]},
            "profile_gan does not extend histories",
            "policies.none[0]",
            "sequence_gan",
        ),
        (
            {"policies.none": [{"expand": {"recommender": {"item_kn": {}}}}]},
            "no recommender called 'item_kn'",
            "policies.none[0]",
            "item_knn?",
        ),
        (
            {"policies.none": [{"continue_champion": {"oldr": 1}}]},
            "no key augmentation.continue_champion.oldr",
            "augmentation.continue_champion",
            "older?",
        ),
        ({"run.champion": {"version": "3"}}, "run.champion.digest", "params.yaml, run", ""),
        ({"prepare.split.protocol": "times"}, "no protocol", "prepare.split.protocol", "time?"),
        ({"prepare.split.folds": 2}, "prepare.split.folds", "params.yaml, prepare", ""),
        ({"features.windows_days": []}, "features.windows_days", "params.yaml, features", ""),
        ({"validation.min_users": "many"}, "validation.min_users", "params.yaml, validation", ""),
        ({"data.window.start": "soon"}, "data.window.start", "params.yaml, data.window", ""),
        ({"synthesis.ratio": float("nan")}, "synthesis.ratio", "params.yaml, synthesis", ""),
        ({"synthesis.condition": {"gan": {}}}, "no generator called 'gan'", "synthesis", ""),
        ({"augmentation.max_ratio": -1}, "augmentation.max_ratio", "params.yaml, augment", ""),
        ({"audit.utility.recommender": "eas"}, "'eas'", "audit.utility", "ease?"),
        ({"audit.limits": {"most_copies": 1}}, "most_copies", "audit.limits", "min_ or max_"),
        ({"hardware.devices": 0}, "hardware.devices", "params.yaml, hardware", ""),
        ({"gate.metric": "ndcg@7"}, "lists of 7 are not measured", "evaluation.cutoffs", "add 7"),
        ({"gate.metric": "auc"}, "no metric 'auc'", "gate.metric", ""),
        ({"tuning.spaces": {"ease": {"l3": [1]}}}, "no option 'l3'", "tuning.spaces", ""),
        ({"tuning.regularisation": {"ease": {"l2": ["x"]}}}, "l2 cannot be", "tuning.reg", ""),
        (
            {"tuning.trials": 3, "recommenders.ease.l2": 9000.0},
            "lies outside",
            "recommenders.ease",
            "",
        ),
        (
            {"tuning.trials": 3, "tuning.presets": {"mine": {"ease": {"max_items": 9}}}},
            "max_items is not searched",
            "tuning.presets.mine.ease",
            "",
        ),
        ({"seed": "x"}, "the seed", "params.yaml, seed", "seed: 1"),
    ],
)
def test_what_cannot_run_is_refused_with_the_place_and_what_to_write(
    overrides: dict[str, Any], what: str, where: str, fix: str
) -> None:
    error = refused(overrides)
    assert what in error.what and where in error.where and fix in error.fix, str(error)
    assert "params.yaml" in error.where


def test_a_search_of_another_recommender_is_none_of_the_runs_business() -> None:
    planning.check(HOME, NAMED | {"tuning.spaces": {"sasrec": {"anything": [1]}}})


def test_a_key_that_a_stage_depends_on_must_stand_there(tmp_path: Path) -> None:
    params = deepcopy(PARAMS)
    del params["tuning"]["pruning"], params["features"]
    (tmp_path / "dvc.yaml").write_text((HOME / "dvc.yaml").read_text())
    for key in ("features", "tuning.pruning"):
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        with pytest.raises(ConfigError, match=f"there is no {key}, on which the stage") as caught:
            planning.check(tmp_path)
        assert f"augrec config {key.partition('.')[0]}" in caught.value.fix
        params["features"] = PARAMS["features"]


def test_only_the_modules_of_the_run_are_imported() -> None:
    code = f"""
import sys
from pathlib import Path
from augrec.stages import planning
planning.check(Path({str(HOME)!r}), {{
    "run.generators": ["profile_vae"], "run.recommenders": ["popularity"],
    "run.policies": ["none"]}})
rooms = ("augrec.generators.", "augrec.recommenders.")
print(*(name for name in sys.modules if name.startswith(rooms) and "._" not in name))
print(*(name for name in ("optuna", "airflow", "mlflow", "feast") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported, heavy = done.stdout.split("\n")[:2]
    assert {name for name in imported.split() if not name.endswith((".base", ".toolkit"))} <= {
        "augrec.generators.profile_vae",
        "augrec.generators.neural",
        "augrec.recommenders.popularity",
        "augrec.recommenders.ease",  # of audit.utility
        "augrec.recommenders.item_knn",
    }
    assert heavy == ""


def test_a_component_that_cannot_be_imported_is_named_with_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> Any:
        raise ImportError("no module called nothing")

    monkeypatch.setitem(planning._FIND, "recommenders", broken)
    error = refused({"run.recommenders": ["ease"]})
    assert "src/augrec/recommenders/ease.py cannot be used: ImportError" in error.what
