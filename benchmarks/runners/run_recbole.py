"""RecBole 1.2: EASE, item-KNN, BPR, MultVAE, SASRec, GRU4Rec.

RecBole leaves the last two rows of each user out of training. Two copies of the user's last row are
added, so that what remains is the training set to the row.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from _task import Fit, Model, Rank, Task, main
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import get_model, get_trainer, init_seed

NAME = "split"
COMMON: dict[str, Any] = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "eval_args": {
        "split": {"LS": "valid_and_test"},
        "order": "TO",
        "group_by": "user",
        "mode": "full",
    },
    "use_gpu": False,
    "show_progress": False,
    "reproducibility": True,
    "save_dataset": False,
    "save_dataloaders": False,
    "eval_step": 0,
}


def model(name: str, sequential: bool = False) -> Model:
    def build(task: Task) -> Fit:
        folder = Path(tempfile.mkdtemp())
        _write(task, folder / NAME)
        os.chdir(folder)  # it writes logs and checkpoints where it stands
        losses = {"train_neg_sample_args": None} if sequential else {}
        settings = COMMON | losses | {"data_path": str(folder), "seed": task.seed} | task.settings
        config = Config(model=name, dataset=NAME, config_dict=settings)
        logging.disable(logging.WARNING)
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        train, _, _ = data_preparation(config, dataset)

        def fit() -> Rank:
            init_seed(config["seed"], config["reproducibility"])
            network = get_model(name)(config, train._dataset)
            get_trainer(config["MODEL_TYPE"], name)(config, network).fit(
                train, saved=False, show_progress=False
            )
            return lambda: rank(network, dataset, task, sequential, config["MAX_ITEM_LIST_LENGTH"])

        return fit

    return build


@torch.no_grad()
def rank(network: Any, dataset: Any, task: Task, sequential: bool, longest: int) -> np.ndarray:
    network.eval()
    places = dataset.token2id(dataset.iid_field, [str(item) for item in range(len(task.items))])
    seen = task.lists()

    def scores(rows: np.ndarray) -> np.ndarray:
        if sequential:
            lengths = [min(len(seen[row]), longest) for row in rows]
            lists = torch.zeros(len(rows), longest, dtype=torch.long)
            for line, row in enumerate(rows):
                lists[line, : lengths[line]] = torch.from_numpy(places[seen[row][-longest:]])
            query = {"item_id_list": lists, "item_length": torch.tensor(lengths)}
        else:
            tokens = [str(user) for user in task.cases[rows]]
            query = {"user_id": torch.from_numpy(dataset.token2id(dataset.uid_field, tokens))}
        found = network.full_sort_predict(Interaction(query)).reshape(len(rows), -1)
        return found.numpy()[:, places]

    return task.best(scores)


def _write(task: Task, folder: Path) -> None:
    """RecBole's own file format; positions are its tokens."""
    rows = pl.DataFrame({"user": task.user, "item": task.item, "time": np.arange(len(task.user))})
    last = rows.group_by("user", maintain_order=True).last()
    copies = [last.with_columns(time=pl.col("time") + after * len(rows)) for after in (1, 2)]
    folder.mkdir()
    table = pl.concat([rows, *(copy.select(rows.columns) for copy in copies)])
    named = table.select(
        pl.col("user").alias("user_id:token"),
        pl.col("item").alias("item_id:token"),
        pl.col("time").cast(pl.Float64).alias("timestamp:float"),
    )
    named.write_csv(folder / f"{NAME}.inter", separator="\t")


if __name__ == "__main__":
    main(
        {
            "ease": model("EASE"),
            "item_knn": model("ItemKNN"),
            "bpr": model("BPR"),
            "multvae": model("MultiVAE"),
            "sasrec": model("SASRec", sequential=True),
            "gru4rec": model("GRU4Rec", sequential=True),
        }
    )
