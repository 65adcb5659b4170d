"""From a training set to a generator, a sample, its audit and the policies' training sets, as
stages."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.core.files import read_json
from augrec.data.clean import clean
from augrec.data.columns import INTERACTIONS
from augrec.data.config import PrepareConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import split
from augrec.generators._conditions import Conditions
from augrec.stages import audit, augment, configure, synthesize, train_generator
from augrec.stages.prepare import write_prepared

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
POLICIES = ["none", "bootstrap", "popularity_random", "crossover", "truncation", "profile_gan"]
PARAMS["run"] |= {
    "generators": ["profile_gan"],
    "policies": POLICIES,
    "recommenders": ["popularity", "ease"],
}
PARAMS["generators"]["profile_gan"] = {
    "steps": 80,  # enough to learn more than popularity, which the audit demands
    "batch_size": 32,
    "hidden": 32,
    "learning_rate": 0.004,
    "log_every": 40,
}


def workspace(folder: Path) -> Path:
    """The files a run has before its generators are trained."""
    tables = simulate(ShopConfig(n_users=150, n_items=60, n_interactions=3000), seed=1)
    tables = tables._replace(
        users=tables.users.with_columns(income=20_000 + 350.5 * pl.int_range(pl.len()))
    )
    interactions = clean(
        tables.interactions, PARAMS["prepare"]["positive"], min_item_interactions=1
    )
    parts = split(interactions, PrepareConfig.model_validate(PARAMS["prepare"]).split, seed=1)
    write_prepared(folder / "data/prepared", tables, interactions, interactions, parts)
    training_set = folder / "data/training_set"
    training_set.mkdir()
    parts.train.with_columns(user__activity=pl.lit(1.0)).write_parquet(
        training_set / "interactions.parquet"
    )
    tables.users.join(parts.train, on="user_id", how="semi").write_parquet(
        training_set / "users.parquet"
    )
    set_params(folder, {})
    return folder


def set_params(folder: Path, changes: dict) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}), encoding="utf-8")


def run_all() -> None:
    configure.main()
    train_generator.main("profile_gan")
    synthesize.main("profile_gan")
    audit.main("profile_gan")
    for policy in POLICIES:
        augment.main(policy)


def made(folder: Path) -> dict[str, bytes]:
    places = ("models", "data/synthetic", "data/augmented", "reports")
    files = [path for place in places for path in (folder / place).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = workspace(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_all()
    return folder


def test_the_stages_write_what_they_promise(finished):
    assert {"component.json", "arrays.safetensors", "curve.csv"} <= names(
        finished / "models/generators/profile_gan"
    )
    sample = {"interactions.parquet", "users.parquet", "realness.parquet", "sample.json"}
    assert names(finished / "data/synthetic/profile_gan") == sample
    assert names(finished / "reports/audit/profile_gan") == {
        "audit.json",
        "distributions.json",
        "index.html",
    }
    assert names(finished / "data/augmented") == set(POLICIES)
    verdict = read_json(finished / "reports/audit/profile_gan/audit.json")
    assert set(verdict) == {
        "generator",
        "passed",
        "failed_limits",
        "undecided_limits",
        "undecided",
        "advice",
        "leak",
        "utility",
        "fidelity",
        "diversity",
        "privacy",
        "limits",
    }


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_sample_has_as_many_users_as_the_ratio_says(finished):
    facts = read_json(finished / "data/synthetic/profile_gan/sample.json")
    real = pl.read_parquet(finished / "data/training_set/interactions.parquet")[
        "user_id"
    ].n_unique()
    assert facts["n_users"] == facts["n_real_users"] == real


def test_the_audit_checks_whether_the_users_a_sample_names_reveal_real_users(
    finished,
):
    rows, users = (
        pl.read_parquet(finished / "data/synthetic/profile_gan" / name)
        for name in ("interactions.parquet", "users.parquet")
    )
    assert users["user_id"].equals(rows["user_id"].unique().sort())
    assert users.columns == ["user_id", "age_group", "region", "income"]
    real = pl.read_parquet(finished / "data/training_set/users.parquet")
    assert set(users["region"]) <= set(real["region"])
    assert len(users["income"].dtype.categories) == 4, "numbers are ranges"
    report = finished / "reports/audit/profile_gan"
    privacy = read_json(report / "audit.json")["privacy"]
    assert privacy["attribute_disclosure_low"] < 0.1 < privacy["attribute_disclosure_chance"]
    page = (report / "index.html").read_text(encoding="utf-8")
    assert f"“{privacy['attribute_disclosed']}” is disclosed most" in page


def test_ranges_that_members_gave_away_are_seen_by_the_stage(finished, tmp_path, monkeypatch):
    """The sample is made the training users themselves, under other names."""
    shutil.copytree(finished / "data", tmp_path / "data")
    made, real = tmp_path / "data/synthetic/profile_gan", tmp_path / "data/training_set"
    rows, users = (
        pl.read_parquet(real / name) for name in ("interactions.parquet", "users.parquet")
    )
    ids = users["user_id"].to_numpy()
    labels = Conditions.of(ids, np.ones(len(ids)), users, 32).attributes(np.arange(len(ids)))
    synthetic = pl.concat_str(pl.lit("synthetic:"), "user_id")
    users.select(synthetic.alias("user_id"), labels["income"]).write_parquet(made / "users.parquet")
    rows.select(list(INTERACTIONS)).with_columns(
        synthetic.alias("user_id"), pl.lit("gan").alias("origin")
    ).write_parquet(made / "interactions.parquet")
    set_params(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    audit.main("profile_gan")
    privacy = read_json(tmp_path / "reports/audit/profile_gan/audit.json")["privacy"]
    assert privacy["attribute_disclosed"] == "income" and privacy["attribute_disclosure_low"] > 0.8


def test_a_sample_of_a_shop_that_knows_no_attributes_carries_none(finished, tmp_path, monkeypatch):
    shutil.copytree(
        finished / "data", tmp_path / "data", ignore=shutil.ignore_patterns("synthetic")
    )
    for folder in ("training_set", "prepared"):
        path = tmp_path / "data" / folder / "users.parquet"
        pl.read_parquet(path).select("user_id").write_parquet(path)
    set_params(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    configure.main()
    for stage in (train_generator, synthesize, audit):
        stage.main("profile_gan")
    assert "users.parquet" not in names(tmp_path / "data/synthetic/profile_gan")
    page = (tmp_path / "reports/audit/profile_gan/index.html").read_text(encoding="utf-8")
    assert "The sample carries no attributes of users" in page


def drawn_with(folder: Path, finished: Path, condition: dict) -> pl.DataFrame:
    """Length, region and income of the users that the stage draws under `synthesis.condition`."""
    for part in ("models", "data/training_set"):
        if not (folder / part).exists():
            (folder / part).parent.mkdir(exist_ok=True)
            (folder / part).symlink_to(finished / part)
    set_params(folder, {"synthesis": {"ratio": 0.5, "condition": condition}})
    synthesize.main("profile_gan")
    made = folder / "data/synthetic/profile_gan"
    assert read_json(made / "sample.json")["condition"] == condition.get("profile_gan", {})
    lengths = pl.read_parquet(made / "interactions.parquet").group_by("user_id").len()
    return pl.read_parquet(made / "users.parquet").join(lengths, on="user_id")


def test_params_decide_whom_a_sample_is_of(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = drawn_with(tmp_path, finished, {"profile_gan": {"length": "6-20", "region": "north"}})
    assert set(asked["region"]) == {"north"} and asked["len"].is_between(6, 20).all()
    free = drawn_with(tmp_path, finished, {"latent_gan": {"region": "north"}})
    assert free["region"].n_unique() == 5, "what another generator is asked for does not count"


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ({"no_such_gan": {"length": 7}}, "no_such_gan"),
        ({"profile_gan": {"shoe_size": 43}}, "shoe_size"),
        ({"profile_gan": {"region": "moon"}}, "moon"),
        ({"profile_gan": {"length": "many"}}, "many"),
        ({"profile_gan": {"length": "500+"}}, "500+"),
        ({"profile_gan": "north"}, "synthesis.condition.profile_gan"),
    ],
)
def test_a_condition_that_cannot_be_fulfilled_names_params_yaml(
    condition, named, finished, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        drawn_with(tmp_path, finished, condition)
    assert named in refused.value.what and refused.value.where.startswith("params.yaml")
    assert not (tmp_path / "data/synthetic").exists()


def test_policies_say_what_they_are_and_which_samples_they_used(finished):
    facts = {
        name: read_json(finished / "data/augmented" / name / "policy.json") for name in POLICIES
    }
    assert facts["none"]["n_added_users"] == 0
    assert {name for name, fact in facts.items() if fact["kind"] == "generated"} == {"profile_gan"}
    assert {name: fact["samples"] for name, fact in facts.items() if fact["samples"]} == {
        "profile_gan": ["profile_gan"]
    }


def test_no_held_out_user_reaches_a_training_set(finished):
    held_out = set(pl.read_parquet(finished / "data/prepared/held_out.parquet")["user_id"])
    for policy in POLICIES:
        training = pl.read_parquet(finished / "data/augmented" / policy / "interactions.parquet")
        assert not held_out & set(training["user_id"])


def test_the_same_inputs_give_the_same_bytes(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace(tmp_path))
    run_all()
    assert made(tmp_path) == made(finished)


def test_a_failed_audit_is_reported_and_is_no_error(finished, tmp_path, monkeypatch):
    for part in ("data", "models"):
        (tmp_path / part).symlink_to(finished / part)
    set_params(tmp_path, {"audit": {"limits": {"max_length_ks": -1.0}}})
    monkeypatch.chdir(tmp_path)
    audit.main("profile_gan")
    verdict = read_json(tmp_path / "reports/audit/profile_gan/audit.json")
    assert not verdict["passed"] and verdict["failed_limits"] == ["max_length_ks"]


def link(folder: Path, finished: Path, *parts: str) -> None:
    """A workspace that has these parts of a finished one."""
    for part in parts:
        (folder / part).parent.mkdir(exist_ok=True)
        (folder / part).symlink_to(finished / part)


INPUTS = ("data/prepared", "data/training_set", "data/synthetic")


@pytest.fixture(scope="module")
def blocked(finished, tmp_path_factory):
    """A workspace whose sample broke a limit."""
    folder = tmp_path_factory.mktemp("blocked")
    link(folder, finished, *INPUTS)
    set_params(folder, {"audit": {"limits": {"max_length_ks": -1.0, "min_item_coverage": 0.0}}})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        audit.main("profile_gan")
    return folder


def test_what_a_blocked_sample_is_mixed_into_is_built_and_says_so(blocked, finished, monkeypatch):
    monkeypatch.chdir(blocked)
    for policy in ("profile_gan", "bootstrap"):
        augment.main(policy)
    files = [folder / "data/augmented/profile_gan" for folder in (blocked, finished)]
    rows = [(folder / "interactions.parquet").read_bytes() for folder in files]
    assert rows[0] == rows[1], "it is measured as it would be otherwise; the gate refuses it"
    assert [read_json(folder / "policy.json")["blocked"] for folder in files] == [
        ["profile_gan"],
        [],
    ]
    assert read_json(blocked / "data/augmented/bootstrap/policy.json")["blocked"] == []


def test_a_training_set_to_be_shared_is_not_made_of_a_blocked_sample(blocked, monkeypatch):
    monkeypatch.chdir(blocked)
    with pytest.raises(
        RefusedError, match=r"profile_gan \(length_ks 0\.\d+, at most -1\)"
    ) as caught:
        augment.main("synthetic_only")
    assert (
        caught.value.where == "reports/audit/profile_gan/index.html"
        and Path(caught.value.where).exists()
    )
    assert "out of run.policies" in caught.value.fix
    assert not (blocked / "data/augmented/synthetic_only").exists()


def test_a_training_set_to_be_shared_needs_an_audit_and_nothing_else(
    finished, tmp_path, monkeypatch
):
    link(tmp_path, finished, *INPUTS)
    set_params(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match=r"profile_gan \(missing"):
        augment.main("synthetic_only")
    link(tmp_path, finished, "reports")
    augment.main("synthetic_only")
    rows = pl.read_parquet(tmp_path / "data/augmented/synthetic_only/interactions.parquet")
    assert set(rows["origin"]) == {"profile_gan"}


def test_without_held_out_users_the_refusal_names_the_protocols_that_have_some(
    finished, tmp_path, monkeypatch
):
    link(tmp_path, finished, *INPUTS[1:])
    shutil.copytree(finished / "data/prepared", tmp_path / "data/prepared")
    held_out = tmp_path / "data/prepared/held_out.parquet"
    pl.read_parquet(held_out).clear().write_parquet(held_out)
    set_params(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    audit.main("profile_gan")
    with pytest.raises(
        RefusedError, match=r"attack_auc could not be measured, at most 0\.65;"
    ) as caught:
        augment.main("synthetic_only")
    assert "prepare.split.protocol" in caught.value.fix and "held_out_users" in caught.value.fix


def test_a_generator_outside_the_run_cannot_be_mixed_in(finished, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(finished / "data")
    set_params(tmp_path, {"run": {**PARAMS["run"], "generators": []}})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="takes no part"):
        augment.main("profile_gan")


def test_an_unknown_policy_and_an_unknown_option_are_refused(finished, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(finished / "data")
    monkeypatch.chdir(tmp_path)
    set_params(tmp_path, {"augmentation": {"max_ration": 1}, "audit": {"neighbors": 1}})
    for stage, name in ((augment, "none"), (audit, "profile_gan")):
        with pytest.raises(ConfigError, match=r"max_ration|neighbors"):
            stage.main(name)
    set_params(tmp_path, {})
    with pytest.raises(ConfigError, match="no_such_policy"):
        augment.main("no_such_policy")


def test_a_missing_training_set_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_params(tmp_path, {})
    configure.main()
    for stage, name in (
        (train_generator, "profile_gan"),
        (augment, "none"),
        (synthesize, "profile_gan"),
    ):
        with pytest.raises(InputError, match="training set"):
            stage.main(name)
