"""Negatives that a training set names take the place of drawn ones, each user's own only."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch

from augrec.core.errors import ConfigError
from augrec.core.files import read_json, write_json
from augrec.data.training_data import TrainingData
from augrec.nn.named_negatives import NamedNegatives
from augrec.recommenders.base import find, load


def test_users_without_named_negatives_keep_those_drawn():
    named = sp.csr_matrix(([1.0, 1.0, 1.0], ([0, 0, 2], [4, 5, 6])), shape=(3, 7))
    drawn = torch.zeros(3, 200, dtype=torch.int64)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        negatives = NamedNegatives(named, 1.0, torch.device("cpu"))
        replaced = negatives.put(torch.tensor([0, 1, 2]), drawn)
    assert set(replaced[0].tolist()) == {4, 5}
    assert set(replaced[1].tolist()) == {0}
    assert set(replaced[2].tolist()) == {6}


def test_about_the_share_of_the_negatives_is_replaced():
    named = sp.csr_matrix(np.ones((1, 3), np.float32))
    drawn = torch.full((1, 4000), 7)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        negatives = NamedNegatives(named, 0.25, torch.device("cpu"))
        replaced = negatives.put(torch.tensor([0]), drawn)
    assert (replaced != 7).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_the_rows_of_a_training_set_name_negatives_by_user():
    rows = pl.DataFrame(
        {
            "user_id": ["b", "a", "a", "b", "ghost"],
            "item_id": ["x", "y", "x", "unknown", "x"],
            "negative": [False, False, True, True, True],
        }
    )
    data = TrainingData(rows)
    assert data.catalogue.ids.tolist() == ["x", "y"]
    assert data.named_negatives is not None
    assert data.named_negatives.toarray().tolist() == [[1, 0], [0, 0]]  # users a and b
    assert TrainingData(rows.drop("negative")).named_negatives is None


def test_an_old_name_of_a_key_is_refused_in_params_and_understood_in_a_stored_model(tmp_path):
    with pytest.raises(ConfigError, match="introduced is called named_negatives_share now"):
        find("bpr")({"introduced": 0.5})
    rows = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "y"]})
    find("bpr")({"steps": 1}).fit(TrainingData(rows)).save(tmp_path / "model")
    metadata = read_json(tmp_path / "model" / "component.json")
    metadata["config"]["introduced"] = metadata["config"].pop("named_negatives_share") / 2
    write_json(tmp_path / "model" / "component.json", metadata)
    assert load(tmp_path / "model").config.named_negatives_share == 0.25
