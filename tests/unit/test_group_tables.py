"""The tables of people who decide together: imported, validated, simulated."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from augrec.core.errors import ConfigError, InputError
from augrec.core.settings import Settings
from augrec.data.canonical import canonical_tables, read_groups, read_tables, write_raw
from augrec.data.columns import GROUP_INTERACTIONS, GROUPS
from augrec.data.group_tables import GroupTables, canonical_groups
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.simulate_groups import GroupsConfig, with_groups
from augrec.orchestration.import_data import import_data
from augrec.orchestration.import_preview import preview
from augrec.validation import expectations
from augrec.validation.config import WindowConfig, read_config
from augrec.validation.snapshot import CheckedSnapshot, Snapshot, check_snapshot, read_snapshot

HOME = Path(__file__).parents[2]
PARAMS = yaml.safe_load((HOME / "params.yaml").read_text())
LIMITS, _ = read_config(PARAMS)
DAY = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
SHOP = ShopConfig(n_users=120, n_items=60, n_interactions=2500)


def checked(
    members: list[tuple[str | None, str | None]],
    chosen: list[tuple[str | None, str | None]] | None = None,
) -> CheckedSnapshot:
    """Users u0 … u59 with an interaction each, u60 … with none."""
    rows = pl.DataFrame({"user_id": [f"u{n}" for n in range(60)]}).with_columns(
        item_id=pl.lit("i"), event=pl.lit("view"), timestamp=pl.lit(DAY)
    )
    users = pl.DataFrame({"user_id": [f"u{n}" for n in range(70)]})
    groups = pl.DataFrame(members, schema=dict(GROUPS), orient="row")
    choices = pl.DataFrame(
        chosen or [], schema={"group_id": pl.String, "item_id": pl.String}, orient="row"
    ).with_columns(event=pl.lit("view"), timestamp=pl.lit(DAY))
    snapshot = Snapshot(
        *canonical_tables(rows, users=users), DAY, canonical_groups(groups, choices)
    )
    return check_snapshot(snapshot, LIMITS, WindowConfig())


def test_what_is_wrong_with_a_group_is_quarantined_and_counted() -> None:
    couple = [("pair", "u1"), ("pair", "u69"), ("pair", "u1")]
    alone = [("alone", "u2"), ("strange", "u3"), ("strange", "nobody")]
    crowd = [("crowd", f"u{n}") for n in range(51)]
    chosen = [("pair", "i"), ("alone", "i"), ("never met", "i"), ("pair", None), (None, "i")]
    found = checked([*couple, *alone, *crowd, (None, "u4"), ("pair", None)], chosen)
    assert found.tables["groups"].counts == {
        "group_id is missing": 1,
        "user_id is missing": 1,
        "the member is not among the users and has no interaction": 1,
        "the member is in the group already": 1,
        "the group has fewer than two valid members": 4,
        "the group has more than 50 members": 51,
    }
    assert found.kept["groups"].rows() == [("pair", "u1"), ("pair", "u69")]
    assert found.tables["group_interactions"].counts == {
        "group_id is missing": 1,
        "item_id is missing": 1,
        "the group has no valid members": 2,
    }
    assert found.kept["group_interactions"]["item_id"].to_list() == ["i"]
    assert found.counts()["groups"] == {"rows": 59, "good": 2, "quarantined": 57}


def test_masks_agree_with_what_great_expectations_counts() -> None:
    members = [("a", "u1"), ("a", "u2"), ("a", "u2"), ("b", "u3"), ("c", "nobody"), (None, "u5")]
    found = checked(members, [("a", "i"), ("b", "i"), (None, "i"), ("a", None)])
    suites = [one for one in found.suites if one.name.startswith("group")]
    assert [one.name for one in suites] == ["groups", "group_interactions"]
    outcomes, _ = expectations.run(suites, DAY)
    for name in ("groups", "group_interactions"):
        flagged = {
            one.check.claim.removeprefix("never: "): one
            for one in outcomes
            if one.suite == name and one.check.claim.startswith("never: ")
        }
        wrong = {claim for claim, one in flagged.items() if not one.success}
        assert wrong == set(found.tables[name].counts)


def test_groups_that_are_all_wrong_leave_the_interactions_as_they_are() -> None:
    found = checked([("a", "nobody")], [("a", "i")])
    assert found.kept["groups"].is_empty() and found.kept["group_interactions"].is_empty()
    assert len(found.kept["interactions"]) == 60


def test_without_tables_of_groups_nothing_knows_of_them(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", *simulate(SHOP, 1), {"source": "x"})
    assert read_groups(tmp_path / "raw") is None
    found = check_snapshot(read_snapshot(tmp_path / "raw"), LIMITS, WindowConfig())
    assert set(found.kept) == set(found.tables) == {"interactions", "items", "users"}
    assert [one.name for one in found.suites] == [
        "interactions",
        "items",
        "users",
        "interactions_kept",
    ]


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    home = tmp_path / "project"
    (home / "infra").mkdir(parents=True)
    for name in ("params.yaml", "infra/embedded.env"):
        shutil.copy(HOME / name, home / name)
    return Settings(home, home / "var", "127.0.0.1", 8080, 5000, "sqlite:///x", "x")


def files(folder: Path) -> dict[str, str]:
    rows = "".join(f"u{n % 20},{n},2024-05-{1 + n % 28:02}\n" for n in range(40))
    texts = {
        "interactions": "user_id,item_id,timestamp\n" + rows,
        "groups": "home,who\nred,u1\nred,u2\nblue,u3\nblue,u9999\n",
        "group_interactions": "home,film,day\nred,5,2024-05-03\nblue,6,2024-05-04\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return {name: str(folder / f"{name}.csv") for name in texts}


def test_a_shops_tables_of_groups_are_mapped_and_summarised(
    project: Settings, tmp_path: Path
) -> None:
    params = yaml.safe_load((project.home / "params.yaml").read_text())
    params["data"]["import"]["groups"] = {"group_id": "home", "user_id": "who"}
    params["data"]["import"]["group_interactions"] = {
        "group_id": "home",
        "item_id": "film",
        "timestamp": "day",
    }
    (project.home / "params.yaml").write_text(yaml.safe_dump(params))
    done = import_data(project, files(tmp_path))
    assert done.groups is not None
    raw = read_groups(project.home / "data" / "raw")
    assert raw is not None and raw.groups.equals(done.groups.groups)
    assert raw.groups.columns == list(GROUPS)
    assert raw.group_interactions.columns == list(GROUP_INTERACTIONS)
    summary = dict(done.summary)
    assert summary["groups"] == "2 of 2 to 2, 4 members, 3 of them known users"
    assert summary["group choices"] == "2 rows of 2 groups, 2 of them with members"
    outlook = preview(done.tables, params, done.groups)
    assert ("groups", "1 with 2 of 4 members, 1 of 2 choices") in outlook
    assert (
        "quarantined",
        "groups, 1: the member is not among the users and has no interaction",
    ) in outlook
    assert not import_data(project, files(tmp_path)).changed


def test_choices_need_to_know_who_decides(project: Settings, tmp_path: Path) -> None:
    given = files(tmp_path)
    with pytest.raises(ConfigError, match="no table says who is in a group"):
        import_data(project, {name: given[name] for name in ("interactions", "group_interactions")})
    with pytest.raises(ConfigError, match="no tables of groups"):
        import_data(project, {"layout": "movielens-1m", "folder": "x", "groups": given["groups"]})
    with pytest.raises(InputError, match="missing columns: group_id, user_id"):
        import_data(project, {name: given[name] for name in ("interactions", "groups")})


def test_a_table_of_groups_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    found = with_groups(simulate(SHOP, 1), SHOP, GroupsConfig(n_groups=5), 1)
    write_raw(tmp_path / "raw", *found.tables, {"source": "x"}, found.groups)
    (tmp_path / "raw" / "group_interactions.parquet").unlink()
    with pytest.raises(InputError, match="group interactions is missing"):
        read_groups(tmp_path / "raw")
    with pytest.raises(InputError, match=r"group_interactions\.parquet"):
        read_snapshot(tmp_path / "raw")


def test_simulated_groups_choose_what_their_members_agree_on(tmp_path: Path) -> None:
    config = GroupsConfig(n_groups=60, choices=20)
    plain = simulate(SHOP, 1)
    found = with_groups(plain, SHOP, config, 1)
    again = with_groups(simulate(SHOP, 1), SHOP, config, 1)
    assert isinstance(found.groups, GroupTables)
    for one, other in zip(found.groups, again.groups, strict=True):
        assert one.equals(other)
    sizes = found.groups.groups.group_by("group_id").len()["len"]
    assert sizes.min() == 2 and sizes.max() == 4
    assert found.groups.group_interactions["timestamp"].is_sorted()
    added = len(found.tables.interactions) - len(plain.interactions)
    assert 0 < added < 4 * len(found.groups.group_interactions)
    write_raw(tmp_path / "raw", *found.tables, {"source": "x"}, found.groups)
    assert read_tables(tmp_path / "raw").interactions.equals(found.tables.interactions)
    snapshot = check_snapshot(read_snapshot(tmp_path / "raw"), LIMITS, WindowConfig())
    assert not snapshot.tables["groups"].counts and not snapshot.tables["group_interactions"].counts
    # a group's categories are nearer to its own members' than to those of others
    category = found.tables.items.select("item_id", pl.col("categories").list.first())
    before = plain.interactions.join(category, on="item_id")
    theirs = (
        found.groups.groups.join(before, on="user_id")
        .group_by("group_id", "categories")
        .len()
        .with_columns(share=pl.col("len") / pl.col("len").sum().over("group_id"))
    )
    chosen = found.groups.group_interactions.join(category, on="item_id")
    own = chosen.join(theirs, on=["group_id", "categories"], how="left")["share"].fill_null(0)
    shifted = chosen.with_columns(
        group_id=pl.col("group_id").replace(
            dict(
                zip(
                    sorted(set(chosen["group_id"])),
                    sorted(set(chosen["group_id"]))[::-1],
                    strict=True,
                )
            )
        )
    )
    others = shifted.join(theirs, on=["group_id", "categories"], how="left")["share"].fill_null(0)
    assert own.mean() > 1.3 * others.mean()
    with pytest.raises(InputError, match="cannot be drawn"):
        with_groups(
            simulate(ShopConfig(n_users=2, n_items=5, n_interactions=20), 1),
            ShopConfig(n_users=2, n_items=5, n_interactions=20),
            config,
            1,
        )
