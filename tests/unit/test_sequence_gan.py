"""The sequence generator finds again what was planted: order, time gaps, the order of events,
tastes; and extends histories."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from scipy import stats

from augrec.core.errors import ConfigError
from augrec.core.files import write_parquet
from augrec.data.columns import INTERACTIONS
from augrec.data.training_data import TrainingData
from augrec.generators import base
from augrec.nn.softmax import full
from augrec.stages import synthesize

START = datetime(2024, 1, 1, tzinfo=UTC)
CHAIN, LENGTH = 24, 10
EVENTS = ["view", "cart", "purchase"]
QUICK = {
    "factors": 32,
    "hidden": 64,
    "steps": 220,
    "critic_steps": 40,
    "log_every": 110,
    "dropout": 0.1,
    "learning_rate": 1e-2,
    "candidates": 2,
}


def table(
    users: np.ndarray, items: np.ndarray, seconds: np.ndarray, events: np.ndarray | str = "view"
) -> pl.DataFrame:
    """Canonical interactions from columns of the same length."""
    frame = pl.DataFrame(
        {
            "user_id": [f"u{user:04}" for user in users],
            "item_id": [f"i{item:02}" for item in items],
            "event": events,
            "seconds": seconds,
        }
    ).with_columns(
        value=pl.lit(None),
        timestamp=pl.lit(START) + pl.duration(seconds="seconds"),
        origin=pl.lit("real"),
        weight=pl.lit(1.0),
    )
    return frame.select(list(INTERACTIONS)).cast(dict(INTERACTIONS)).sort("user_id", "timestamp")


def chain(n_users: int = 240, keep: float = 0.85) -> pl.DataFrame:
    """Each item is followed by the next on a circle, or now and then by any other; nobody has one
    twice.

    The first third of a history are views, then come carts, then purchases. Rows are half a minute
    or days apart.
    """
    random = np.random.default_rng(0)
    histories = []
    for _ in range(n_users):
        history = [int(random.integers(CHAIN))]
        while len(history) < LENGTH:
            following = (history[-1] + 1) % CHAIN
            free = np.setdiff1d(np.arange(CHAIN), history)
            history.append(
                following
                if random.random() < keep and following in free
                else int(random.choice(free))
            )
        histories.append(history)
    gaps = np.where(
        random.random((n_users, LENGTH)) < 0.7,
        random.lognormal(3.4, 0.5, (n_users, LENGTH)),
        random.lognormal(12, 0.4, (n_users, LENGTH)),
    )
    events = np.array(EVENTS)[np.arange(LENGTH) * 3 // LENGTH]
    return table(
        np.repeat(np.arange(n_users), LENGTH),
        np.ravel(histories),
        np.cumsum(np.round(gaps), 1).astype(int).ravel(),
        np.tile(events, n_users),
    )


def fit(data: pl.DataFrame, users: pl.DataFrame | None = None, **options) -> base.Generator:
    return base.find("sequence_gan")({**QUICK, **options}, seed=1).fit(
        TrainingData(data, users=users)
    )


def numbers(sample: pl.DataFrame) -> pl.DataFrame:
    """Items as numbers, with the one before."""
    item = pl.col("item_id").str.slice(1).cast(pl.Int32)
    return sample.select("user_id", "event", item=item).with_columns(
        before=pl.col("item").shift(1).over("user_id")
    )


def in_order(sample: pl.DataFrame) -> float:
    """Share of rows whose item follows that of the row before on the circle."""
    pairs = numbers(sample).drop_nulls("before")
    return pairs.select(((pl.col("before") + 1) % CHAIN == pl.col("item")).mean()).item()


def gaps(sample: pl.DataFrame) -> np.ndarray:
    return (
        sample.select(pl.col("timestamp").diff().over("user_id").dt.total_seconds())
        .drop_nulls()
        .to_series()
        .to_numpy()
    )


@pytest.fixture(scope="module")
def chained():
    return fit(chain())


@pytest.fixture(scope="module")
def written(chained):
    return chained.sample(200, seed=2)


def test_it_learns_which_item_follows_which(written):
    assert in_order(chain()) > 0.8
    assert in_order(written) > 0.6, "items drawn independently would give 0.04"


@pytest.mark.parametrize(
    "options",
    [
        {"network": "transformer"},
        {"length": 4},
        {"loss": "sampled", "negatives": 16, "max_full_items": 1, "shortlist": 64},
    ],
    ids=str,
)
def test_either_network_short_windows_and_sampled_items_learn_it_too(options):
    sample = fit(chain(), backward=False, **options).sample(100)
    assert in_order(sample) > 0.55
    assert not sample.select("user_id", "item_id").is_duplicated().any()


def test_time_gaps_are_those_of_the_data(written):
    assert stats.ks_2samp(gaps(written), gaps(chain())).statistic < 0.1
    assert (gaps(written) == np.round(gaps(written))).all(), "the data's clock shows whole seconds"


def test_events_come_in_the_order_of_real_users(written):
    rank = pl.col("event").replace_strict(
        {name: place for place, name in enumerate(EVENTS)}, return_dtype=pl.Int32
    )
    steps = (
        numbers(written)
        .select((rank >= rank.shift(1).over("user_id")).alias("onward"))
        .drop_nulls()
    )
    assert steps["onward"].mean() > 0.95
    shares = written["event"].value_counts(normalize=True).sort("event")["proportion"]
    assert np.allclose(shares, [0.3, 0.3, 0.4], atol=0.06), "cart, purchase, view"


def test_the_discriminator_keeps_what_is_more_real(tmp_path):
    """A writer that stopped too early: among its candidates the critic finds those that keep to the
    order."""
    fit(chain(), steps=60, critic_steps=250, candidates=6).save(tmp_path / "model")
    kept = {}
    for selection in ("none", "resample", "best"):
        generator = base.load(tmp_path / "model")
        generator.config = generator.config.model_copy(update={"selection": selection})
        kept[selection] = generator.sample(200, seed=5)
    realness = {
        name: generator.realness(sample)["realness"].mean() for name, sample in kept.items()
    }
    order = {name: in_order(sample) for name, sample in kept.items()}
    assert realness["none"] < realness["resample"] < realness["best"]
    assert order["none"] + 0.05 < order["best"], "more like the data, not just in the critic's eyes"
    lengths = [sample.group_by("user_id").len()["len"].sort().to_list() for sample in kept.values()]
    assert lengths[0] == lengths[1] == lengths[2]


def test_a_history_is_extended_on_either_side_by_what_belongs_there(chained):
    real = chain().filter(pl.int_range(pl.len()).over("user_id").is_between(4, 6))
    ends = (
        numbers(real)
        .group_by("user_id")
        .agg(first=pl.col("item").first(), last=pl.col("item").last())
    )
    times = real.group_by("user_id").agg(
        start=pl.col("timestamp").min(), end=pl.col("timestamp").max()
    )
    for direction, known, step in (("right", "last", 1), ("left", "first", -1)):
        rows = chained.extend(real, n=2, direction=direction, seed=3)
        assert dict(rows.schema) == dict(INTERACTIONS) and set(rows["origin"]) == {"sequence_gan"}
        assert (
            rows.group_by("user_id")
            .len()
            .sort("user_id")
            .equals(
                real.select("user_id")
                .unique()
                .sort("user_id")
                .with_columns(len=pl.lit(2, pl.UInt32))
            )
        )
        assert rows.join(real, on=["user_id", "item_id"], how="semi").is_empty(), (
            "nobody meets an item again"
        )
        assert not rows.select("user_id", "item_id").is_duplicated().any()
        nearest = (
            numbers(rows)
            .group_by("user_id", maintain_order=True)
            .agg(pl.col("item").first() if direction == "right" else pl.col("item").last())
        )
        found = (
            nearest.join(ends, on="user_id")
            .select(((pl.col(known) + step) % CHAIN == pl.col("item")).mean())
            .item()
        )
        assert found > 0.55, f"{direction}: by chance 0.05"
        moments = rows.join(times, on="user_id")
        outside = (
            pl.col("timestamp") >= pl.col("end")
            if direction == "right"
            else pl.col("timestamp") <= pl.col("start")
        )
        assert moments.select(outside.all()).item()
        assert (
            chain()["timestamp"].min() <= rows["timestamp"].min()
            and rows["timestamp"].max() <= chain()["timestamp"].max()
        )
        assert rows.equals(chained.extend(real, n=2, direction=direction, seed=3))
        assert not rows.equals(chained.extend(real, n=2, direction=direction, seed=4))


def tastes(n_users: int = 120) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Half the people want the first half of the catalogue, half the second; an attribute tells."""
    random = np.random.default_rng(5)
    taste = np.arange(n_users) % 2
    items = np.concatenate([random.permutation(20)[:8] + 20 * side for side in taste])
    attribute = pl.DataFrame(
        {
            "user_id": [f"u{user:04}" for user in range(n_users)],
            "taste": np.where(taste, "high", "low").tolist(),
        }
    )
    return table(
        np.repeat(np.arange(n_users), 8), items, np.tile(np.arange(8) * 60, n_users)
    ), attribute


def high(sample: pl.DataFrame) -> pl.DataFrame:
    item = pl.col("item_id").str.slice(1).cast(pl.Int32)
    return sample.group_by("user_id", maintain_order=True).agg(share=(item >= 20).mean())


@pytest.fixture(scope="module")
def tasteful():
    data, users = tastes()
    return fit(data, users, unknown=0.3)


def test_users_have_the_taste_of_their_attribute(tasteful):
    assert high(tasteful.sample(60, condition={"taste": "high"}))["share"].mean() > 0.9
    assert high(tasteful.sample(60, condition={"taste": "low"}))["share"].mean() < 0.1


@pytest.mark.parametrize("direction", ["left", "right"])
def test_an_extended_history_stays_among_its_own(tasteful, direction):
    data, _ = tastes()
    short = data.filter(pl.int_range(pl.len()).over("user_id") < 2 + pl.col("user_id").hash() % 2)
    both = high(short).join(high(tasteful.extend(short, n=4, direction=direction)), on="user_id")
    assert (both["share"] - both["share_right"]).abs().mean() < 0.1


def test_what_it_was_not_trained_for_it_says_it_cannot_do():
    generator = fit(chain(20), steps=2, backward=False, critic_steps=0, selection="none")
    assert generator.extend(chain(20), n=2, direction="left") is None
    assert len(generator.extend(chain(20), n=2, direction="right")) == 40
    assert generator.realness(generator.sample(3)) is None
    for wrong in ({"critic_steps": 0}, {"factors": 15}):
        with pytest.raises(ConfigError):
            fit(chain(20), **wrong)


def test_values_keep_to_their_item_and_event_and_their_order_in_a_history():
    """Ratings 1 … 5 rise along each history, and the price of an item is its own."""
    data = chain(200)
    rated = data.with_columns(
        event=pl.when(pl.int_range(pl.len()).over("user_id") < 7)
        .then(pl.lit("rating"))
        .otherwise(pl.lit("purchase")),
        value=pl.when(pl.int_range(pl.len()).over("user_id") < 7)
        .then(pl.int_range(pl.len()).over("user_id") * 5 // 7 + 1)
        .otherwise(pl.col("item_id").str.slice(1).cast(pl.Int32) * 10.5 + 100)
        .cast(pl.Float32),
    )
    sample = fit(rated, backward=False).sample(100)
    bought = sample.filter(pl.col("event") == "purchase")
    assert bought.select(
        (pl.col("value") == pl.col("item_id").str.slice(1).cast(pl.Int32) * 10.5 + 100).all()
    ).item()
    ratings = sample.filter(pl.col("event") == "rating").with_columns(
        before=pl.col("value").shift(1).over("user_id")
    )
    assert set(ratings["value"]) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert (
        ratings.drop_nulls("before").select((pl.col("value") >= pl.col("before")).mean()).item()
        > 0.9
    )


def test_the_stage_extends_short_histories_of_training_users_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = chain(40).filter(
        (pl.col("user_id") != "u0003") | (pl.int_range(pl.len()).over("user_id") < 3)
    )
    write_parquet(tmp_path / "data/training_set/interactions.parquet", data)
    params = {"seed": 1, "synthesis": {"extensions": {"max_length": 4, "items": 3}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    fit(data, steps=5, critic_steps=5).save(tmp_path / "models/generators/sequence_gan")
    synthesize.main("sequence_gan")
    folder = tmp_path / "data/synthetic/sequence_gan"
    extensions = pl.read_parquet(folder / "extensions.parquet")
    assert set(extensions["user_id"]) == {"u0003"}
    assert extensions.select("direction", "place").rows() == [
        ("left", 3),
        ("left", 2),
        ("left", 1),
        ("right", 1),
        ("right", 2),
        ("right", 3),
    ]
    assert extensions["timestamp"].max() <= data["timestamp"].max()
    assert not set(pl.read_parquet(folder / "interactions.parquet")["user_id"]) & set(
        data["user_id"]
    )


def test_items_that_are_left_out_have_no_share_in_the_loss():
    """It and its gradients are those of a softmax over the other items."""
    torch.manual_seed(0)
    states, items, bias = (
        torch.randn(shape, requires_grad=True) for shape in ((40, 4), (30, 4), (30,))
    )
    targets, weights, counts = torch.randint(30, (40,)), torch.rand(40), torch.randint(0, 5, (40,))
    met = torch.cat(
        [
            (target + 1 + torch.randperm(29)[:count]) % 30
            for target, count in zip(targets, counts, strict=True)
        ]
    )
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    table = (states @ items.T + bias).index_put(
        (torch.repeat_interleave(counts), met), torch.tensor(-torch.inf)
    )
    expected = (torch.nn.functional.cross_entropy(table, targets, reduction="none") * weights).sum()
    loss = full(states, items, bias, targets, weights, (starts, met))
    assert torch.allclose(loss, expected)
    pairs = zip(
        *(torch.autograd.grad(value, [states, items, bias]) for value in (loss, expected)),
        strict=True,
    )
    assert all(torch.allclose(ours, theirs, atol=1e-5) for ours, theirs in pairs)
