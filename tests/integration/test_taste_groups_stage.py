"""The stage `taste_groups` and what comes of it: with real Feast, real git and real DVC."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.metrics import adjusted_rand_score

from augrec.core.errors import InputError
from augrec.core.files import digest, read_json
from augrec.core.settings import Settings
from augrec.data.cases import CASES
from augrec.data.columns import TIME
from augrec.features import store
from augrec.features.schema import TASTES
from augrec.stages import features, taste_groups
from augrec.versioning import git, publish, restore, stages, workspace

ROOT = Path(__file__).parents[2]
N_TASTES, USERS, ITEMS = 4, 200, 40
START = datetime(2024, 1, 1, tzinfo=UTC)
PARAMS = {
    "seed": 3,
    "features": {"every_days": 7, "windows_days": [7], "max_categories": 2},
    "taste_groups": {
        "groups": N_TASTES,
        "width": 8,
        "steps": 300,
        "attribute": True,
        "previous": None,
    },
}
PIPELINE = """
stages:
  prepare:
    cmd: cp -r data/raw data/prepared
    deps: [data/raw]
    outs: [data/prepared]
  taste_groups:
    cmd: python -m augrec.stages.taste_groups
    deps: [data/prepared]
    params: [taste_groups, seed]
    outs: [data/taste_groups]
"""


def rows(seed: int) -> pl.DataFrame:
    """Users of four tastes, the number of a user and of an item telling which."""
    random = np.random.default_rng(seed)
    same = np.arange(USERS)[:, None] % N_TASTES == np.arange(ITEMS) % N_TASTES
    users, items = np.nonzero(random.random((USERS, ITEMS)) < np.where(same, 0.5, 0.03))
    table = pl.DataFrame(
        {
            "user_id": [f"u{user:03}" for user in users],
            "item_id": [f"i{item:02}" for item in items],
            "timestamp": [START + timedelta(minutes=int(one)) for one in range(len(users))],
            "value": pl.Series([None] * len(users), dtype=pl.Float32),
        }
    )
    return table.with_columns(pl.col("timestamp").cast(TIME))


def write_prepared(folder: Path, seed: int = 0) -> None:
    """The tables that the stages read; the last forty users are held out."""
    folder.mkdir(parents=True, exist_ok=True)
    table = rows(seed)
    train = table.filter(pl.col("user_id") < f"u{USERS - 40:03}")
    items = pl.DataFrame(
        {
            "item_id": [f"i{item:02}" for item in range(ITEMS)],
            "title": [f"Item {item}" for item in range(ITEMS)],
            "categories": [[f"taste {item % N_TASTES}"] for item in range(ITEMS)],
            "price": pl.Series([None] * ITEMS, dtype=pl.Float64),
        }
    )
    table.write_parquet(folder / "interactions.parquet")
    train.write_parquet(folder / "train.parquet")
    items.write_parquet(folder / "items.parquet")
    for name in ("users", "held_out"):
        pl.DataFrame({"user_id": table["user_id"].unique().sort()}).write_parquet(
            folder / f"{name}.parquet"
        )
    pl.DataFrame(schema=CASES).write_parquet(folder / "cases_valid.parquet")
    (folder / "split.json").write_text('{"rules": {"order": "global"}}')


def say(folder: Path, **changed: object) -> None:
    """Write params.yaml with other values under taste_groups."""
    params = {**PARAMS, "taste_groups": {**PARAMS["taste_groups"], **changed}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A workspace after the stages `features` and `taste_groups`."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "feature_repo", tmp_path / "feature_repo", ignore=ignored)
    write_prepared(tmp_path / "data/prepared")
    say(tmp_path)
    with contextlib.chdir(tmp_path):
        features.main()
        taste_groups.main()
    return tmp_path


def tastes_of(users: pl.Series) -> list[int]:
    return [int(user[1:]) % N_TASTES for user in users.to_list()]


def test_the_groups_are_the_planted_tastes_also_of_users_who_were_held_out(made: Path) -> None:
    trained = pl.read_parquet(made / "data/taste_groups/attributes.parquet")
    everybody = pl.read_parquet(made / "data/taste_groups/memberships.parquet")
    assert len(trained) == USERS - 40 and len(everybody) == USERS
    for table in (trained, everybody):
        found = adjusted_rand_score(tastes_of(table["user_id"]), table["taste_group"].to_list())
        assert found > 0.85
    groups = read_json(made / "data/taste_groups/groups.json")
    assert sum(group["users"] for group in groups) == USERS - 40
    assert sum(group["share"] for group in groups) == pytest.approx(1)
    assert all(group["name"].startswith("people who like taste") for group in groups)


def test_the_same_inputs_give_the_same_bytes(made: Path) -> None:
    before = digest(made / "data/taste_groups")
    with contextlib.chdir(made):
        taste_groups.main()
    assert digest(made / "data/taste_groups") == before


def test_feast_serves_a_users_group(made: Path, tmp_path: Path) -> None:
    online = str(tmp_path / "online.db")
    store.materialize(made, online_store=online)
    opened = store.open_store(made, online_store=online)
    asked = [f"user_taste:{name}" for name in TASTES]
    users = [{"user_id": "u003"}, {"user_id": "u199"}, {"user_id": "nobody"}]
    served = opened.get_online_features(asked, users).to_dict()
    table = pl.read_parquet(made / "data/taste_groups/memberships.parquet")
    for place, user in enumerate(("u003", "u199")):
        known = table.row(by_predicate=pl.col("user_id") == user, named=True)
        assert {name: served[name][place] for name in TASTES} == pytest.approx(
            {name: known[name] for name in TASTES}
        )
    assert all(served[name][2] is None for name in TASTES)


def test_without_groups_nothing_else_is_missing(made: Path, tmp_path: Path) -> None:
    online = str(tmp_path / "online.db")
    store.materialize(made, online_store=online)
    say(made, groups=0)
    with contextlib.chdir(made):
        taste_groups.main()
    left = {path.name for path in (made / "data/taste_groups").iterdir()}
    assert left == {"attributes.parquet", "groups.json"}
    # the registry still holds the view of groups that are gone
    assert store.materialize(made, online_store=online) == {"user": USERS, "item": ITEMS}


def test_groups_that_are_to_keep_their_names_must_be_there(made: Path) -> None:
    say(made, previous="abc.dir")
    with contextlib.chdir(made), pytest.raises(InputError, match="are missing"):
        taste_groups.main()


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    home = tmp_path / "project"
    home.mkdir()
    (home / "src").symlink_to(ROOT / "src")
    (home / "dvc.yaml").write_text(PIPELINE)
    say(home)
    (home / ".dvcignore").write_text("__pycache__\nsrc\n")
    (home / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    for words in (["init", "--quiet"], ["config", "user.name", "t"], ["config", "user.email", "t"]):
        git.git(home, *words)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=home, check=True)
    (home / ".dvc/config").write_text(
        "[core]\n    remote = local\n['remote \"local\"']\n    url = x\n"
    )
    git.git(home, "add", ".")
    git.git(home, "commit", "--quiet", "-m", "start")
    write_prepared(home / "data/raw")
    return Settings(home, home / "var", "127.0.0.1", 8080, 5000, "", "")


def run(project: Settings, run_id: str) -> workspace.Workspace:
    """A published run."""
    one = restore.restore_unchanged(project, workspace.create(project, run_id, {}))
    for stage in stages.plan(one.path):
        stages.run_stage(one.path, stage.name)
    publish.publish(project, one)
    return one


def memberships(one: workspace.Workspace) -> pl.DataFrame:
    table = pl.read_parquet(one.path / "data/taste_groups/memberships.parquet")
    return table.select("user_id", "taste_group")


def test_groups_keep_their_names_from_run_to_run(project: Settings) -> None:
    first = run(project, "first")
    assert not (first.path / "models/taste_groups.dvc").exists()
    again = run(project, "again")  # on the same data nothing is done again
    assert set(again.restored) == {"prepare", "taste_groups"}
    shutil.rmtree(project.home / "data/raw")
    write_prepared(project.home / "data/raw", seed=1)
    other = run(project, "other")
    commit = git.git(project.home, "rev-parse", publish.tags(project)[-1])
    recorded = git.git(project.home, "ls-tree", "-r", "--name-only", commit)
    assert "models/taste_groups.dvc" in recorded
    both = memberships(first).join(memberships(other), on="user_id")
    same = (both["taste_group"] == both["taste_group_right"]).mean()
    assert same > 0.95
    unchanged = run(project, "unchanged")
    assert set(unchanged.restored) == {"prepare", "taste_groups"}


def test_a_run_whose_former_groups_are_lost_gives_new_names(project: Settings) -> None:
    run(project, "first")
    shutil.rmtree(project.home / ".dvc/cache")
    shutil.rmtree(project.var / "dvc-remote")
    shutil.rmtree(project.home / "data/raw")
    write_prepared(project.home / "data/raw", seed=1)
    other = run(project, "other")
    params = yaml.safe_load((other.path / "params.yaml").read_text())
    assert params["taste_groups"]["previous"] is None
    assert len(read_json(other.path / "data/taste_groups/groups.json")) == N_TASTES
