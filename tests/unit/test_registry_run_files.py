"""What is read from a workspace for MLflow, and the comparison of a rebuilt version: no MLflow
needed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from augrec.core.errors import InputError
from augrec.core.files import write_json, write_text
from augrec.registry import mlflow_values, rebuild_check, run_files


def test_nested_parameters_become_flat_text() -> None:
    nested = {
        "policies": {"mix": [{"truncate": {"ratio": 1.0}}], "none": []},
        "cutoffs": [10, 20],
        "seed": 7,
    }
    assert mlflow_values.texts(nested) == {
        "policies.mix.0.truncate.ratio": "1.0",
        "policies.none": "[]",
        "cutoffs": "[10, 20]",
        "seed": "7",
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source", "postgresql+psycopg://shop:hunter2@db.example/shop"),
        ("source", ["https://me:hunter2@example.org/data.csv"]),
        ("source", "reads redis://:hunter2@cache:6379"),
        ("smtp_password", "hunter2"),
        ("API-KEY", "hunter2"),
        ("nested.auth_token", "hunter2"),
    ],
)
def test_secrets_never_leave_the_workspace(key: str, value: object) -> None:
    assert "hunter2" not in mlflow_values.redact(key, value)


def test_what_is_no_secret_stays_readable() -> None:
    assert (
        mlflow_values.redact("source", "https://example.org:8080/data.csv")
        == "https://example.org:8080/data.csv"
    )
    assert mlflow_values.redact("gate.metric", "ndcg@10") == "ndcg@10"


def test_mlflow_gets_everything_overall_accuracy_by_slice_and_gaps_but_not_every_group() -> None:
    measured = {"n_users": 4, "ndcg@10": 0.5, "novelty@10": 7.0, "recall_tail@10": None}
    part = {"groups": {"x": {"items": 3, "exposure@10": 0.2}}, "divergence@10": 0.1}
    told = mlflow_values.metrics(
        {
            "test": run_files.shown(
                {
                    "overall": measured,
                    "slices": {"1-5": measured},
                    "catalogue": {"gini@10": 0.9},
                    "items": {"popularity": part, "categories": {}},
                    "groups": {
                        "age": {
                            "groups": {"18": measured},
                            "gap": {"ndcg@10": 0.2},
                            "worst": {"ndcg@10": "18"},
                        }
                    },
                    "time": {"2024-05": measured},
                    "heads": {"rating": {"rmse": 1.1}},
                }
            )
        }
    )
    assert told == {
        "test/overall/n_users": 4,
        "test/overall/ndcg_at_10": 0.5,
        "test/overall/novelty_at_10": 7.0,
        "test/slices/1-5/n_users": 4,
        "test/slices/1-5/ndcg_at_10": 0.5,
        "test/catalogue/gini_at_10": 0.9,
        "test/items/popularity/divergence_at_10": 0.1,
        "test/groups/age/gap/ndcg_at_10": 0.2,
        "test/heads/rating/rmse": 1.1,
    }


def test_only_finite_numbers_become_metrics_under_names_mlflow_takes() -> None:
    found = mlflow_values.metrics(
        {
            "test": {"slices": {"21+": {"ndcg@10": 0.5, "recall@10": None}}, "name": "x"},
            "passed": True,
            "bad": math.inf,
        }
    )
    assert found == {"test/slices/21_plus/ndcg_at_10": 0.5, "passed": 1.0}


def test_a_long_curve_is_thinned_but_keeps_its_end(tmp_path: Path) -> None:
    write_text(
        tmp_path / "curve.csv",
        "step,loss,note\n" + "".join(f"{step},{step / 2},x\n" for step in range(5000)),
    )
    curve = run_files.read_curve(tmp_path / "curve.csv")
    assert curve.columns == ["step", "loss"]
    assert len(curve) <= run_files.MAX_CURVE_ROWS
    assert curve["step"].to_list()[-1] == 4999


@pytest.mark.parametrize("text", ["", "step\n", "step,loss\n", "step\n1\n"])
def test_a_model_without_a_training_loop_has_an_empty_curve(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / "curve.csv", text)
    assert run_files.read_curve(tmp_path / "curve.csv").is_empty()
    assert run_files.read_curve(tmp_path / "missing.csv").is_empty()


def test_dvc_hashes_are_read_from_inputs_and_outputs(tmp_path: Path) -> None:
    write_text(
        tmp_path / "dvc.lock",
        "schema: '2.0'\nstages:\n  validate:\n    deps:\n    - {path: data/raw, md5: abc.dir}\n"
        "    outs:\n    - {path: data/validated, md5: def.dir}\n",
    )
    assert run_files.dvc_hashes(tmp_path) == {"data/raw": "abc.dir", "data/validated": "def.dir"}


def test_a_workspace_without_results_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no dvc\.lock"):
        run_files.dvc_hashes(tmp_path)


def test_the_fingerprint_changes_with_the_commit_and_every_file(tmp_path: Path) -> None:
    seen = {run_files.fingerprint(tmp_path, "a"), run_files.fingerprint(tmp_path, "b")}
    for name in ("params.yaml", "dvc.lock", "reports/decision.json"):
        write_text(tmp_path / name, "x")
        seen.add(run_files.fingerprint(tmp_path, "a"))
    assert len(seen) == 5
    assert run_files.fingerprint(tmp_path, "a") in seen


def test_rebuilt_metrics_are_identical_only_to_the_last_bit() -> None:
    wanted = {"test": {"overall": {"ndcg@10": 0.1 + 0.2, "n_users": 40, "recall@10": None}}}
    assert rebuild_check.compare_metrics(wanted, wanted).identical
    [found] = rebuild_check.compare_metrics(
        wanted, {"test": {"overall": {**wanted["test"]["overall"], "ndcg@10": 0.3}}}
    ).differences
    assert (found.metric, found.expected, found.rebuilt) == ("test/overall/ndcg@10", 0.1 + 0.2, 0.3)
    assert found.amount == 0.3 - (0.1 + 0.2)


def test_a_metric_that_is_missing_or_new_is_a_difference() -> None:
    report = rebuild_check.compare_metrics({"a": None, "b": 1}, {"b": 1, "c": 2.0})
    assert [(found.metric, found.amount) for found in report.differences] == [
        ("a", None),
        ("c", None),
    ]
    assert not report.identical


def test_a_policy_that_searched_for_its_mix_is_a_part_with_its_trials(tmp_path: Path) -> None:
    folder = tmp_path / "data/augmented/searched"
    search = {
        "metric": "ndcg@10",
        "slice": "1-5",
        "value": 0.4,
        "without": 0.3,
        "n_trials": 3,
        "out_of_time": False,
    }
    write_text(
        tmp_path / "params.yaml", "seed: 1\npolicies: {searched: [search: {samples: [gan]}]}\n"
    )
    write_json(folder / "policy.json", {"policy": "searched", "search": search})
    rows = [
        '0,complete,0.3,"""gan""",0.0',
        '1,pruned,,"""gan""",0.5',
        '2,complete,0.4,"""gan""",1.0',
    ]
    write_text(folder / "trials.csv", "\n".join(["trial,state,value,samples,weight", *rows]))
    write_json(tmp_path / "data/augmented/none/policy.json", {"policy": "none", "search": None})
    [part] = run_files.parts(tmp_path)
    assert (part.role, part.name) == ("policy", "searched")
    assert part.metrics["search/value"] == 0.4 and part.metrics["search/without"] == 0.3
    assert [trial.state for trial in part.trials] == ["complete", "pruned", "complete"]
    assert [trial.metrics for trial in part.trials] == [
        {"valid/slices/1-5/ndcg_at_10": 0.3},
        {},
        {"valid/slices/1-5/ndcg_at_10": 0.4},
    ]
    assert (
        part.trials[2].parameters["config.weight"] == "1.0" and folder / "trials.csv" in part.files
    )
