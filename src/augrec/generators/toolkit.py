"""All that an author of a generator needs, in one import; nothing here needs torch.

`ProfileGenerator` fits most: `_fit` starts with `self._count(data)`, `_profiles` draws the items.
`Generator` is the bare contract. Generators that are neural networks start from
`augrec.generators.neural`.
"""

from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns
from augrec.data.histories import Histories, ItemIndex
from augrec.data.popularity_sampling import draw_by_logits, draw_distinct
from augrec.data.row_details import RowDetails, build_interactions
from augrec.data.training_data import TrainingData
from augrec.generators._conditions import Conditions
from augrec.generators._profile.base import ProfileGenerator
from augrec.generators._profile.counts import Counts
from augrec.generators.base import Generator, realness_table

__all__ = [
    "BaseConfig",
    "Columns",
    "Conditions",
    "Counts",
    "Field",
    "Generator",
    "Histories",
    "ItemIndex",
    "ProfileGenerator",
    "RowDetails",
    "TrainingData",
    "build_interactions",
    "derive",
    "draw_by_logits",
    "draw_distinct",
    "realness_table",
    "rng",
]
