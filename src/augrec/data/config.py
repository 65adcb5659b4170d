"""The configs of the sections `prepare` and `data.import` of params.yaml."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from augrec.core.config import BaseConfig


class SplitConfig(BaseConfig):
    """`prepare.split`. `min_targets`, `max_history` and `max_evaluated_users` apply to all
    protocols, the other keys to the protocols that they name."""

    protocol: str = "time"
    """The name of a module in `augrec.data.protocols`."""
    min_targets: int = Field(default=1, ge=1)
    """Cases with fewer targets are dropped."""
    max_history: int = Field(default=500, ge=1)
    """At most this number of the latest items of a history are kept."""
    max_evaluated_users: int = Field(default=100_000, ge=1)
    """Of more users with cases, this number is drawn for validation and for test; the others have
    no cases. Means over so many say as much as means over all."""
    valid_from: float = Field(default=0.70, gt=0, lt=1)
    """time, cold_items: quantile of time at which validation begins."""
    test_from: float = Field(default=0.85, gt=0, lt=1)
    """time, cold_items: quantile of time at which test begins."""
    max_valid_users: float = Field(default=0.25, gt=0, lt=1)
    """time, held_out_users: at most this share of all users is held out for validation."""
    max_test_users: float = Field(default=0.25, gt=0, lt=1)
    """time, held_out_users: at most this share of all users is held out for test."""
    moments: list[int] = [0, 5, 20]
    """time: prefix lengths. A user is evaluated at the start of the period, and after their n-th
    interaction for each n in this list."""
    target_share: float = Field(default=0.2, gt=0, lt=0.5)
    """random: share of a user's items that become test targets, and as many validation targets."""
    fold_in: float = Field(default=0.8, gt=0, lt=1)
    """k_fold, held_out_users: the share of a held-out user's items, oldest first, that is the
    history."""
    folds: int = Field(default=5, ge=3)
    """k_fold: number of folds."""
    fold: int = Field(default=0, ge=0)
    """k_fold: the fold of test users; the users of the next fold are validation users."""
    cold_share: float | None = Field(default=None, gt=0, lt=0.5)
    """cold_items: share of the items that are cold for test, and as many for validation; null: the
    items that first occur after the cuts."""

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.fold >= self.folds:
            raise ValueError(
                f"fold must be below folds: folds are numbered from 0, there are {self.folds}"
            )
        return self


class PrepareConfig(BaseConfig):
    """`prepare`."""

    positive: dict[str, float | None]
    """Event -> the smallest value that counts as interest; null: any. Events that are not listed do
    not count."""
    min_item_interactions: int = Field(default=1, ge=1)
    """Items with fewer users are left out."""
    split: SplitConfig = SplitConfig()


class TextFormat(BaseConfig):
    """How a table is written; part of each section of `data.import`. Parquet files and databases
    need none of it."""

    encoding: str | None = None
    """Encoding of a text file; null: UTF-8, or what its byte order mark says."""
    separator: str | None = Field(default=None, min_length=1, max_length=1)
    """Separator of columns; null: the most frequent one of comma, semicolon, tab and | in the
    header."""
    quoted: bool | None = None
    """Texts may stand in double quotes, and go over several lines there; null: they may, except in
    files separated by tabs, and lines that look like rows of their own are refused."""
    decimal: Literal[".", ","] | None = None
    """Decimal separator of numbers in text; null: each column shows it, or is refused."""


class EventColumns(TextFormat):
    """What tables of events have alike: your column for each canonical column; null: you have
    none."""

    item_id: str = "item_id"
    timestamp: str = "timestamp"
    event: str | None = None
    value: str | None = None
    default_event: str = "view"
    """The event of every row if there is no event column."""
    events: dict[str, str | None] = {}
    """Your name of an event -> one of `validation.events`, e.g. {gekauft: purchase}; null: its rows
    are left out. Other events keep their names."""
    timestamp_unit: str | None = Field(default=None, pattern="^(s|ms|us|ns)$")
    """Unit of timestamps that are numbers since 1970; null: the timestamps are dates."""
    timestamp_format: str | None = None
    """Format of dates that are not ISO 8601, e.g. "%d.%m.%Y %H:%M"; without a time zone they are
    UTC."""

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if self.timestamp_unit and self.timestamp_format:
            raise ValueError("timestamp_unit is for numbers, timestamp_format for dates: give one")
        if self.events and not self.event:
            raise ValueError("events needs event, the column with your names")
        return self


class InteractionColumns(EventColumns):
    """`data.import.interactions`."""

    user_id: str = "user_id"


class GroupInteractionColumns(EventColumns):
    """`data.import.group_interactions`: what groups chose; as `interactions`, with `group_id` in
    place of `user_id`."""

    group_id: str = "group_id"


class ItemColumns(TextFormat):
    """`data.import.items`."""

    item_id: str = "item_id"
    title: str | None = None
    description: str | None = None
    categories: str | None = None
    tags: str | None = None
    price: str | None = None
    list_separator: str = Field(default="|", min_length=1)
    """Separator of categories or tags in a text column."""
    extra: list[str] = []
    """Other columns to keep under their own names."""


class UserColumns(TextFormat):
    """`data.import.users`."""

    user_id: str = "user_id"
    extra: list[str] = []
    """Columns to keep under their own names."""


class GroupColumns(TextFormat):
    """`data.import.groups`: one row for each member of a group."""

    group_id: str = "group_id"
    user_id: str = "user_id"


class ImportConfig(BaseConfig):
    """`data.import`."""

    nulls: list[str] = [
        "\\N",
        "NULL",
        "null",
        "Null",
        "(null)",
        "None",
        "NaN",
        "nan",
        "NaT",
        "<NA>",
        "#N/A",
    ]
    """Texts that mean that a value is missing, besides the empty text, in every column."""
    interactions: InteractionColumns = InteractionColumns()
    items: ItemColumns = ItemColumns()
    users: UserColumns = UserColumns()
    groups: GroupColumns = GroupColumns()
    group_interactions: GroupInteractionColumns = GroupInteractionColumns()
