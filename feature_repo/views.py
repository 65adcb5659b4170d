"""Views of the feature tables. Their columns come from data/features/schema.json, which the stage
`features` writes; those of taste groups from `augrec.features.schema`."""

from __future__ import annotations

from pathlib import Path

from feast import Entity, FeatureView, Field, FileSource
from feast.types import Array, FeastType, Float32, Int64, String

from augrec.features.schema import (
    ENTITIES,
    EVENT_TIMESTAMP,
    SNAPSHOT,
    TASTES,
    read_schema,
    tastes_path,
)
from entities import item, user

HOME = Path(__file__).resolve().parent.parent
TABLES = HOME / "data" / "features"
TYPES: dict[str, FeastType] = {"Int64": Int64, "Float32": Float32, "List(Float32)": Array(Float32)}

schema = read_schema(TABLES)


def view(entity: Entity, description: str) -> FeatureView:
    """The view `<entity>_features` of the table with the same name."""
    name = f"{entity.name}_features"
    return FeatureView(
        name=name,
        description=description,
        entities=[entity],
        schema=[
            Field(name=ENTITIES[entity.name], dtype=String),
            Field(name=SNAPSHOT, dtype=Int64),
            *[
                Field(name=column, dtype=TYPES[feature["type"]])
                for column, feature in schema[entity.name].items()
            ],
        ],
        source=FileSource(
            name=name, path=str(TABLES / f"{name}.parquet"), timestamp_field=EVENT_TIMESTAMP
        ),
    )


user_features = view(
    user, "activity over windows, recency, mean value and category shares of a user's own history"
)
item_features = view(
    item,
    "popularity over windows, age, mean value, price and categories; held-out users do not count",
)
if tastes_path(HOME).exists():  # a run may want no groups
    user_taste = FeatureView(
        name="user_taste",
        description="the user's taste group and the distance to its centre; its users and share",
        entities=[user],
        schema=[
            Field(name=ENTITIES["user"], dtype=String),
            *[Field(name=column, dtype=TYPES[kind]) for column, kind in TASTES.items()],
        ],
        source=FileSource(
            name="user_taste", path=str(tastes_path(HOME)), timestamp_field=EVENT_TIMESTAMP
        ),
    )
