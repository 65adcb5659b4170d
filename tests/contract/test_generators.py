"""What every generator promises. A new generator is picked up by itself."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from augrec.core import component
from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.data.columns import INTERACTIONS
from augrec.data.training_data import TrainingData
from augrec.generators import base

NAMES = component.available("augrec.generators")
QUICK = {
    "cfgan": {"steps": 12, "batch_size": 16, "hidden": 16, "noise": 8, "log_every": 5},
    "item_gan": {"steps": 12, "factors": 8, "hidden": 16, "decoder_steps": 20, "log_every": 5},
    "latent_gan": {"steps": 12, "factors": 8, "hidden": 16, "decoder_steps": 20, "log_every": 5},
    "profile_gan": {"steps": 12, "batch_size": 16, "hidden": 16, "noise": 8, "log_every": 5},
    "profile_vae": {"steps": 12, "batch_size": 16, "hidden": 16, "latent": 8, "log_every": 5},
    "sequence_gan": {"steps": 8, "critic_steps": 6, "factors": 8, "hidden": 16, "log_every": 4},
}
START = datetime(2024, 1, 1, tzinfo=UTC)
N_ITEMS = 30


def shop(n_users: int = 40, seed: int = 0) -> pl.DataFrame:
    """Users with 2 to 12 distinct items; even items are viewed, odd ones are rated."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "user_id": f"u{user:03}",
            "item_id": f"i{item:02}",
            "event": "rating" if item % 2 else "view",
            "value": float(item % 5 + 1) if item % 2 else None,
            "timestamp": START
            + timedelta(days=int(rng.integers(0, 60)), minutes=int(rng.integers(0, 600))),
        }
        for user in range(n_users)
        for item in rng.choice(N_ITEMS, rng.integers(2, 13), replace=False)
    ]
    table = pl.DataFrame(rows).with_columns(origin=pl.lit("real"), weight=pl.lit(1.0))
    return table.select(list(INTERACTIONS)).cast(dict(INTERACTIONS)).sort("user_id", "timestamp")


def attributes(table: pl.DataFrame) -> pl.DataFrame:
    """Attributes of the users of a table: a group, an age, a name, and whether they are active."""
    lengths = table.group_by("user_id").len().sort("user_id")
    ids, busy = lengths["user_id"], lengths["len"] > 6
    return pl.DataFrame(
        {
            "user_id": ids,
            "group": ["a" if i % 2 else "b" for i in range(len(ids))],
            "age": list(range(20, 20 + len(ids))),
            "name": ids,
            "busy": busy,
        }
    )


def fitted(name: str, seed: int = 3) -> base.Generator:
    table = shop()
    return base.find(name)(QUICK.get(name), seed=seed).fit(
        TrainingData(table, users=attributes(table))
    )


@pytest.fixture(scope="module", params=NAMES)
def generator(request):
    return fitted(request.param)


@pytest.mark.parametrize("knob", ["hidden", "batch_size"])
@pytest.mark.parametrize("name", ["cfgan", "profile_gan", "profile_vae"])
def test_what_cannot_fit_in_memory_is_refused_before_it_is_made(name, knob):
    with pytest.raises(RefusedError, match=r"for 30 items needs about [\d,.]+ GiB.*has") as caught:
        base.find(name)({knob: 10**12}).fit(TrainingData(shop()))
    assert f"generators.{name}" in caught.value.where
    assert knob in caught.value.where
    assert "latent_gan" in caught.value.fix


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_loaded_generator_draws_what_the_saved_one_draws(generator, tmp_path):
    generator.save(tmp_path / "model")
    loaded = base.load(tmp_path / "model")
    assert loaded.sample(9).equals(generator.sample(9))
    assert loaded.sample(5, condition={"length": "3-5"}, seed=8).equals(
        generator.sample(5, condition={"length": "3-5"}, seed=8)
    )


def test_the_same_seed_gives_the_same_bytes(generator, tmp_path):
    again = fitted(generator.name())
    for folder, one in (("first", generator), ("second", again)):
        one.save(tmp_path / folder)
        one.sample(9, seed=1).write_parquet(tmp_path / folder / "sample.parquet")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_drawing_one_sample_does_not_change_the_next(generator):
    first = generator.sample(7, seed=1)
    generator.sample(20, seed=2)
    assert generator.sample(7, seed=1).equals(first)


def test_another_seed_gives_another_sample(generator):
    assert not generator.sample(9, seed=1).equals(generator.sample(9, seed=2))


def test_another_training_seed_gives_another_generator_if_it_draws(generator):
    same = fitted(generator.name(), seed=4).sample(9, seed=1).equals(generator.sample(9, seed=1))
    assert same == (not generator.draws)


def test_a_sample_is_canonical_and_names_its_origin(generator):
    sample = generator.sample(9)
    assert dict(sample.schema) == dict(INTERACTIONS)
    assert sample["origin"].unique().to_list() == [generator.name()]
    assert sample["weight"].unique().to_list() == [1.0]
    assert sample.drop("value").null_count().sum_horizontal().item() == 0
    assert sample.equals(sample.sort("user_id", "timestamp", maintain_order=True))


@pytest.mark.parametrize("n", [0, 1, 33])
def test_a_sample_holds_as_many_users_as_asked_for(generator, n):
    sample = generator.sample(n)
    assert sample["user_id"].n_unique() == n
    assert dict(sample.schema) == dict(INTERACTIONS)


def test_synthetic_ids_tell_themselves_apart_from_real_ones(generator):
    ids = generator.sample(9)["user_id"]
    assert ids.str.starts_with(f"synthetic:{generator.name()}:").all()
    assert not set(ids) & set(shop()["user_id"])


def test_a_sample_holds_known_items_only_and_each_once_a_user(generator):
    sample = generator.sample(50)
    assert set(sample["item_id"]) <= set(shop()["item_id"])
    assert not sample.select("user_id", "item_id").is_duplicated().any()


def test_profiles_have_lengths_that_occur_among_real_users(generator):
    real = set(shop().group_by("user_id").len()["len"])
    assert set(generator.sample(60).group_by("user_id").len()["len"]) <= real


@pytest.mark.parametrize(("asked", "low", "high"), [("3-5", 3, 5), ("6+", 6, 12), ("4", 4, 4)])
def test_the_asked_for_length_is_kept(generator, asked, low, high):
    lengths = generator.sample(20, condition={"length": asked}).group_by("user_id").len()["len"]
    assert low <= lengths.min() and lengths.max() <= high


@pytest.mark.parametrize("condition", [{"length": "500+"}, {"length": "many"}, {"shoe_size": "43"}])
def test_a_condition_that_no_user_meets_is_refused(generator, condition):
    with pytest.raises(ConfigError):
        generator.sample(3, condition=condition)


def test_the_users_of_a_sample_have_the_attributes_they_were_drawn_with(generator):
    drawn = {"n": 40, "condition": {"group": "a"}, "seed": 8}
    sample, users = generator.sample(**drawn), generator.attributes(**drawn)
    assert users.equals(generator.attributes(**drawn))
    lengths = sample.group_by("user_id", maintain_order=True).len()
    assert users["user_id"].equals(lengths["user_id"])
    assert users["busy"].cast(pl.String).equals((lengths["len"] > 6).cast(pl.String).alias("busy"))
    assert users["busy"].n_unique() == 2 and set(users["group"]) == {"a"}
    assert generator.attributes(0).columns == ["user_id", "group", "age", "busy"], (
        "names cannot be asked for"
    )


def test_a_number_is_given_by_its_range_and_a_condition_asks_for_it_so(generator):
    ranges = generator.attributes(1)["age"].dtype.categories.to_list()
    assert sorted(ranges) == ["<=30", "<=40", "<=49", ">49"], (
        "a quarter of the users aged 20 to 59 each"
    )
    assert generator.attributes(9, condition={"age": "<=30", "busy": True})[
        "age"
    ].unique().to_list() == ["<=30"]


def test_times_stay_inside_the_training_time(generator):
    real, sample = shop()["timestamp"], generator.sample(60)["timestamp"]
    assert real.min() <= sample.min() and sample.max() <= real.max()


def test_events_and_values_are_those_the_item_has(generator):
    item = pl.col("item_id").str.slice(1).cast(pl.Int32)
    rated = item % 2 == 1
    sample = generator.sample(60)
    assert (sample.filter(rated)["event"] == "rating").all()
    assert sample.filter(rated).select((pl.col("value") == item % 5 + 1).all()).item()
    assert (sample.filter(~rated)["event"] == "view").all()
    assert sample.filter(~rated)["value"].is_null().all()


def test_what_a_sample_is_published_with_can_be_written_as_json(generator):
    assert json.loads(json.dumps(generator.facts())) == generator.facts()


def test_nothing_on_disk_is_a_pickle(generator, tmp_path):
    generator.save(tmp_path / "model")
    found = contents(tmp_path / "model")
    assert {Path(name).suffix for name in found} <= {".json", ".safetensors", ".parquet"}
    # the first bytes of safetensors are a length, and may be any; loading reads them as nothing
    # else
    others = [data for name, data in found.items() if not name.endswith(".safetensors")]
    assert not any(data.startswith((b"\x80", b"PK")) for data in others)


def test_no_real_user_id_is_stored(generator, tmp_path):
    generator.save(tmp_path / "model")
    tables = [pl.read_parquet(path) for path in sorted((tmp_path / "model").glob("*.parquet"))]
    texts = {
        text
        for table in tables
        for column in table.iter_columns()
        for text in column.cast(pl.String)
    }
    rest = b"".join(
        path.read_bytes() for path in (tmp_path / "model").iterdir() if path.suffix != ".parquet"
    )
    users = shop()["user_id"].unique()
    assert "i00" in texts, "the catalogue is stored, so the search would find a user"
    assert not texts & set(users)
    assert not [user for user in users if user.encode() in rest]


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_not_real_are_refused(name):
    table = shop().with_columns(
        pl.when(pl.int_range(pl.len()) == 3)
        .then(pl.lit("other_gan"))
        .otherwise("origin")
        .alias("origin")
    )
    with pytest.raises(RefusedError, match="other_gan"):
        base.find(name)(QUICK.get(name)).fit(TrainingData(table))
    unknown = shop().with_columns(origin=pl.lit(None, dtype=pl.String))
    with pytest.raises(RefusedError, match="null"):
        base.find(name)(QUICK.get(name)).fit(TrainingData(unknown))


@pytest.mark.parametrize("name", NAMES)
def test_a_table_that_cannot_be_learnt_from_is_refused(name):
    with pytest.raises(InputError, match="nothing to learn"):
        base.find(name)(QUICK.get(name)).fit(TrainingData(shop().head(0)))
    with pytest.raises(InputError, match="timestamp"):
        base.find(name)(QUICK.get(name)).fit(TrainingData(shop().drop("timestamp")))


@pytest.mark.parametrize("name", NAMES)
def test_a_single_user_with_a_single_item_is_enough(name):
    sample = base.find(name)(QUICK.get(name)).fit(TrainingData(shop().head(1))).sample(4)
    assert sample["item_id"].to_list() == shop().head(1)["item_id"].to_list() * 4


@pytest.mark.parametrize("name", NAMES)
def test_training_logs_a_curve_of_finite_numbers_if_it_iterates(name):
    kind, rows = base.find(name), []
    kind(QUICK.get(name)).fit(TrainingData(shop(), log=rows.append))
    steps = [row["step"] for row in rows]
    assert bool(steps) == kind.iterates and steps == sorted(set(steps))
    assert np.isfinite([value for row in rows for value in row.values()]).all()


@pytest.mark.parametrize("name", [name for name in NAMES if base.find(name).resumes])
def test_an_interrupted_training_continues_and_gives_the_same_bytes(name, tmp_path):
    whole, interrupted, again = [], [], []

    def stop(row):
        interrupted.append(row)
        if len(interrupted) == 2:
            raise KeyboardInterrupt

    def fit(log, checkpoints=None):
        data = TrainingData(shop(), log=log, checkpoints=checkpoints)
        return base.find(name)(QUICK.get(name), seed=3).fit(data)

    fit(whole.append).save(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(stop, tmp_path / "kept")
    fit(again.append, tmp_path / "kept").save(tmp_path / "resumed")
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    assert again == whole, "the curve is whole"


@pytest.mark.parametrize("name", [name for name in NAMES if not base.find(name).resumes])
def test_a_training_that_cannot_continue_keeps_no_checkpoints(name, tmp_path):
    base.find(name)(QUICK.get(name)).fit(TrainingData(shop(), checkpoints=tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_are_refused_by_name(name):
    with pytest.raises(ConfigError, match="no_such_option"):
        base.find(name)({"no_such_option": 1})


def two_tastes(n_users: int = 80) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Half of the users like the first half of the catalogue, half the second, as their attribute
    says."""
    rng = np.random.default_rng(5)
    taste = np.arange(n_users) % 2
    rows = [
        (f"u{user:03}", f"i{item + taste[user] * 20:02}")
        for user in range(n_users)
        for item in rng.choice(20, 8, replace=False)
    ]
    table = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(
        event=pl.lit("view"),
        value=pl.lit(None),
        timestamp=pl.lit(START),
        origin=pl.lit("real"),
        weight=pl.lit(1.0),
    )
    users = pl.DataFrame(
        {
            "user_id": [f"u{user:03}" for user in range(n_users)],
            "taste": ["high" if t else "low" for t in taste],
        }
    )
    return table.select(list(INTERACTIONS)).cast(dict(INTERACTIONS)), users


@pytest.fixture(scope="module")
def tasteful():
    table, users = two_tastes()
    config = {"steps": 120, "batch_size": 32, "hidden": 32, "noise": 8, "learning_rate": 5e-3}
    return base.find("profile_gan")(config, seed=1).fit(TrainingData(table, users=users))


def high_share(sample: pl.DataFrame) -> pl.Series:
    item = pl.col("item_id").str.slice(1).cast(pl.Int32)
    return sample.group_by("user_id").agg((item >= 20).mean().alias("share"))["share"]


def test_the_profile_gan_learns_which_items_go_together(tasteful):
    shares = high_share(tasteful.sample(100))
    purity = pl.Series(np.maximum(shares, 1 - shares)).mean()
    assert purity > 0.85, "items drawn independently would give about 0.63"
    assert 0.2 < (shares > 0.5).mean() < 0.8, "both tastes must live on"


def test_the_profile_gan_gives_users_the_taste_their_attributes_ask_for(tasteful):
    assert high_share(tasteful.sample(60, condition={"taste": "high"})).mean() > 0.8
    assert high_share(tasteful.sample(60, condition={"taste": "low"})).mean() < 0.2


@pytest.mark.parametrize("loss", ["relativistic", "wasserstein"])
def test_the_profile_gan_trains_with_either_loss(loss):
    config = {**QUICK["profile_gan"], "loss": loss, "critic_steps": 2}
    sample = base.find("profile_gan")(config).fit(TrainingData(shop())).sample(30)
    assert sample["item_id"].n_unique() > N_ITEMS / 2


def test_a_profile_gan_that_explodes_is_refused_and_says_what_it_saw():
    config = {**QUICK["profile_gan"], "learning_rate": 1e6}
    with pytest.raises(
        RefusedError, match=r"diverged 4 times.*step 5: critic (is not a number|exploded)"
    ):
        base.find("profile_gan")(config).fit(TrainingData(shop()))


def test_attributes_are_taken_where_they_are_usable():
    table = shop()
    conditions = (
        base.find("profile_gan")(QUICK["profile_gan"] | {"max_attribute_values": 5})
        .fit(TrainingData(table, users=attributes(table).filter(pl.col("user_id") != "u000")))
        .conditions
    )
    assert set(conditions.labels) == {"group", "age", "busy"}, "every user has a different name"
    assert "unknown" in conditions.labels["group"], "a user without a row is kept"
    assert len(conditions.labels["age"]) == 5, "four quarters and unknown"
