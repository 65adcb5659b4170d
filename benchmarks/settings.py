"""The settings of every library: its own defaults; or the same size where models are the same, the
rest as was best on a validation split.

ENTRIES[split][model] lists (library, environment, settings), augrec first; settings are in the
library's own names.
"""

from __future__ import annotations

from typing import Any

Entry = tuple[str, str, dict[str, Any]]
Entries = dict[str, list[Entry]]

_BPR = {"factors": 64, "history_exponent": 0.7}
_CORNAC_BPR = {"k": 64, "max_iter": 150, "learning_rate": 0.01, "lambda_reg": 0.01}
_CORNAC_VAE = {
    "k": 64,
    "autoencoder_structure": [200],
    "n_epochs": 50,
    "batch_size": 128,
    "beta": 0.2,
}
_RECBOLE_VAE = {
    "mlp_hidden_size": [200],
    "latent_dimension": 64,
    "total_anneal_steps": 200,
    "epochs": 50,
    "train_batch_size": 128,
}
_RECTOOLS_SASREC = {"n_factors": 64, "n_heads": 2, "n_blocks": 2, "session_max_len": 50}

RANDOM: Entries = {
    "ials": [
        (
            "augrec",
            "augrec",
            {
                "frequency_exponent": 0.0,
                "regularisation": 7.0,
                "unobserved_weight": 0.3,
                "popularity_blend": 0.0,
            },
        ),
        (
            "implicit",
            "peers",
            {"factors": 64, "iterations": 10, "alpha": 10.0, "regularization": 60.0},
        ),
        (
            "lenskit",
            "peers",
            {"embedding_size": 64, "epochs": 10, "weight": 1, "regularization": 20.0},
        ),
    ],
    "ease": [
        ("augrec", "augrec", {"l2": 200.0, "popularity_blend": 0.0, "dtype": "float32"}),
        ("recbole", "recbole", {"reg_weight": 200.0}),
        ("lenskit", "peers", {"regularization": 200.0}),
        ("cornac", "peers", {"lamb": 200.0, "posB": False}),
        ("rectools", "peers", {"regularization": 200.0}),
    ],
    "item_knn": [
        (
            "augrec",
            "augrec",
            {
                "similarity": "tfidf",
                "nearest_to": "recommended",
                "neighbours": 200,
                "shrinkage": 0.0,
            },
        ),
        ("implicit", "peers", {"similarity": "bm25", "K": 200}),
        ("lenskit", "peers", {"max_nbrs": 200, "save_nbrs": 1000, "feedback": "implicit"}),
        ("recbole", "recbole", {"k": 200, "shrink": 0.0}),
    ],
    "bpr": [
        (
            "augrec",
            "augrec",
            _BPR | {"negatives": 64, "steps": 150, "learning_rate": 0.03, "weight_decay": 0.7},
        ),
        (
            "implicit",
            "peers",
            {"factors": 64, "iterations": 40, "learning_rate": 0.01, "regularization": 0.01},
        ),
        ("cornac", "peers", _CORNAC_BPR),
        ("recbole", "recbole", {"embedding_size": 64, "epochs": 30}),
        (
            "lenskit",
            "peers",
            {"preset": "bpr", "embedding_size": 64, "epochs": 10, "regularization": 0.1},
        ),
    ],
    "multvae": [
        ("augrec", "augrec", {"truncate": 0.0, "beta": 1.0, "steps": 200, "learning_rate": 0.004}),
        ("recbole", "recbole", _RECBOLE_VAE),
        ("cornac", "peers", _CORNAC_VAE),
    ],
    "sasrec": [
        (
            "augrec",
            "augrec",
            {"steps": 400, "learning_rate": 0.0005, "factors": 16, "max_length": 25, "ahead": 50},
        ),
        ("recbole", "recbole", {"epochs": 2, "hidden_dropout_prob": 0.3, "attn_dropout_prob": 0.3}),
        ("rectools", "peers", _RECTOOLS_SASREC | {"epochs": 20}),
    ],
    "gru4rec": [
        ("augrec", "augrec", {"steps": 200, "learning_rate": 0.001, "factors": 32, "hidden": 64}),
        ("recbole", "recbole", {"epochs": 2}),
    ],
}
TIME: Entries = RANDOM | {
    "ials": [
        ("augrec", "augrec", {"frequency_exponent": 0.0, "regularisation": 30.0}),
        (
            "implicit",
            "peers",
            {"factors": 64, "iterations": 10, "alpha": 2.0, "regularization": 60.0},
        ),
        (
            "lenskit",
            "peers",
            {"embedding_size": 64, "epochs": 10, "weight": 1, "regularization": 60.0},
        ),
    ],
    "ease": [
        ("augrec", "augrec", {"l2": 500.0, "dtype": "float32"}),
        ("recbole", "recbole", {"reg_weight": 500.0}),
        ("lenskit", "peers", {"regularization": 500.0}),
        ("cornac", "peers", {"lamb": 500.0, "posB": False}),
        ("rectools", "peers", {"regularization": 500.0}),
    ],
    "item_knn": [
        ("augrec", "augrec", {}),
        ("implicit", "peers", {"similarity": "cosine", "K": 50}),
        ("lenskit", "peers", {"max_nbrs": 50, "save_nbrs": 1000, "feedback": "implicit"}),
        ("recbole", "recbole", {"k": 200, "shrink": 50.0}),
    ],
    "bpr": [
        ("augrec", "augrec", _BPR | {"steps": 100, "positives": 8}),
        *RANDOM["bpr"][1:],
    ],
    "multvae": [("augrec", "augrec", {}), *RANDOM["multvae"][1:]],
    "sasrec": [
        ("augrec", "augrec", {"steps": 1200, "factors": 64}),
        RANDOM["sasrec"][1],
        ("rectools", "peers", _RECTOOLS_SASREC | {"epochs": 5}),
    ],
    "gru4rec": [("augrec", "augrec", {}), *RANDOM["gru4rec"][1:]],
}
ENTRIES: dict[str, Entries] = {"random": RANDOM, "time": TIME}


_NAMES_THE_MODEL: dict[tuple[str, str], dict[str, Any]] = {
    ("implicit", "item_knn"): {"similarity": "cosine"},
    ("lenskit", "item_knn"): {"feedback": "implicit"},
    ("lenskit", "bpr"): {"preset": "bpr"},
}
"""Without these a library would train another model, or has none."""


def at_defaults(model: str, entries: list[Entry]) -> list[Entry]:
    """The same libraries, each with its own defaults."""
    return [
        (library, environment, _NAMES_THE_MODEL.get((library, model), {}))
        for library, environment, _ in entries
    ]
