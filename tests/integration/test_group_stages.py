"""People who decide together, through the stages: from raw tables to the decision, its report and
the bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from registry_workspace import decision_of, make_workspace

from augrec.core.errors import RefusedError
from augrec.core.files import read_json, write_json, write_parquet
from augrec.data.canonical import write_raw
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.simulate_groups import GroupsConfig, with_groups
from augrec.data.training_data import TrainingData
from augrec.evaluation.config import GateConfig
from augrec.recommenders.base import find
from augrec.registry import bundle, models, tracking
from augrec.stages import prepare, validate
from augrec.stages._together import trial_of

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
SHOP = ShopConfig(n_users=150, n_items=60, n_interactions=5000)
COMMIT = "c0ffee" * 6 + "c0ff"


def prepared(folder: Path, protocol: str, *, groups: int) -> Path:
    """data/prepared of a simulated shop, by the stages validate and prepare."""
    params = {**PARAMS, "prepare": {**PARAMS["prepare"], "split": {"protocol": protocol}}}
    found, together = simulate(SHOP, 2), None
    if groups:
        found, together = with_groups(found, SHOP, GroupsConfig(n_groups=groups), 2)
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    write_raw(folder / "data/raw", *found, {"source": "simulated"}, together)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        validate.main()
        prepare.main()
    return folder


@pytest.mark.parametrize("protocol", ["time", "random"])
def test_no_model_learns_from_members_rows_of_what_their_group_chose(
    tmp_path: Path, protocol: str
) -> None:
    here = prepared(tmp_path / "shop", protocol, groups=80) / "data/prepared"
    train, withheld = (
        pl.read_parquet(here / f"{name}.parquet") for name in ("train", "group_withheld")
    )
    assert len(withheld) > 50
    assert train.join(withheld, on=["user_id", "item_id"], how="semi").is_empty()
    counts = read_json(here / "split.json")["counts"]["train"]
    assert counts["interactions"] == len(train)
    choices = pl.read_parquet(here / "group_choices.parquet")
    assert set(choices["period"]) == {"known", "valid", "test"}


def test_without_tables_of_groups_nothing_is_written(tmp_path: Path) -> None:
    here = prepared(tmp_path / "shop", "time", groups=0)
    found = {path.name for path in (here / "data").rglob("*") if "group" in path.name}
    assert found == set()
    assert "group" not in (here / "reports/validation/results.json").read_text()


def test_the_trial_is_in_the_bundle(tmp_path: Path, own_registry: Path) -> None:
    here = prepared(tmp_path / "shop", "time", groups=120)
    train = pl.read_parquet(here / "data/prepared/train.parquet")
    find("ease")().fit(TrainingData(train)).save(here / "model")
    gate = GateConfig(bootstrap_samples=100, min_users=10)
    found = trial_of(here / "data/prepared", here / "model", gate, seed=1)
    assert found["n_groups"] == 120 and found["n"]["test"] > 15
    assert {row["kind"] for row in found["rows"]} == {"persistent", "ad_hoc"}
    run = make_workspace(tmp_path / "run", seed=1)
    plain = register(run, "plain")
    for name in ("groups", "group_choices"):
        shutil.copy(here / f"data/prepared/{name}.parquet", run / "data/prepared")
    write_json(run / "reports/decision.json", decision_of(run) | {"together": found})
    known = register(run, "with groups")
    assert known.digest == plain.digest and known.version != plain.version
    assert register(run, "with groups").version == known.version
    bundle.fetch(known.version, tmp_path / "copy")
    bundle.open_copy(tmp_path / "copy")
    groups = bundle.groups_of(tmp_path / "copy")
    assert len(groups.members) == 120 and min(map(len, groups.members.values())) >= 2
    assert groups.weights == found["weights"]
    bundle.fetch(plain.version, tmp_path / "plain")
    bundle.open_copy(tmp_path / "plain")
    assert not bundle.groups_of(tmp_path / "plain").members
    table = tmp_path / "copy/artifacts/groups/groups.parquet"
    write_parquet(table, pl.read_parquet(table).head(3))
    with pytest.raises(RefusedError, match="changed"):
        bundle.open_copy(tmp_path / "copy")


def register(run: Path, name: str) -> models.Version:
    tracking.log_run(run, name, commit=COMMIT)
    return models.register(run, name, COMMIT, decision_of(run), feature_service="shop_v1")
