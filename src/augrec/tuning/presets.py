"""Values that benchmarks/tuning.py found better than the defaults on data of a kind.

A search tries them right after the values of params.yaml; see benchmarks/results/tuning.md for the
measurements. `tuning.presets` of params.yaml may add others, or replace a recommender's.
"""

from __future__ import annotations

from typing import Any, Final

PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    # some hundred users with long histories
    "small": {
        "cfgan": {
            "dropout": 0.4,
            "learning_rate": 0.0039,
            "partial_masking": 0.2,
            "zero_weight": 0.31,
        },
        "content": {"popularity_blend": 34.0},
        "gru4rec": {"ahead": 30, "dropout": 0.1, "learning_rate": 0.00057, "weight_decay": 0.0},
        "item_knn": {"neighbours": 20, "shrinkage": 230.0, "similarity": "cosine"},
        "mmoe": {"dropout": 0.23, "learning_rate": 0.0077, "weight_decay": 0.0},
        "popularity": {"half_life_days": 7},
        "recvae": {"dropout": 0.4, "gamma": 0.0056, "learning_rate": 0.0035, "weight_decay": 0.0},
        "sasrec": {"ahead": 30, "dropout": 0.12, "learning_rate": 0.0017, "weight_decay": 0.0},
    },
    # many users with a few items each
    "sparse": {
        "bpr": {
            "learning_rate": 0.0072,
            "negative_exponent": 0.5,
            "negative_sampler": "popularity",
            "weight_decay": 2.8,
        },
        "gru4rec": {"ahead": 30, "dropout": 0.54, "learning_rate": 0.00081, "weight_decay": 0.0},
        "item_knn": {"neighbours": 161, "shrinkage": 480.0, "similarity": "tfidf"},
        "multvae": {"beta": 0.32, "dropout": 0.37, "learning_rate": 0.00081, "weight_decay": 0.0},
        "recvae": {"dropout": 0.49, "gamma": 0.02, "learning_rate": 0.0019, "weight_decay": 0.01},
    },
    # baskets over time
    "sequential": {
        "bpr": {
            "learning_rate": 0.0038,
            "negative_exponent": 0.75,
            "negative_sampler": "adversarial",
            "weight_decay": 6.8,
        },
        "content": {"popularity_blend": 95.0},
        "gru4rec": {"ahead": 1, "dropout": 0.48, "learning_rate": 0.00056, "weight_decay": 0.0},
        "item_knn": {"neighbours": 33, "shrinkage": 41.0, "similarity": "tfidf"},
        "mmoe": {"dropout": 0.24, "learning_rate": 0.00077, "weight_decay": 0.0},
        "popularity": {"half_life_days": 365},
        "recvae": {"dropout": 0.67, "gamma": 0.014, "learning_rate": 0.002, "weight_decay": 0.01},
        "sasrec": {"ahead": 10, "dropout": 0.38, "learning_rate": 0.00054, "weight_decay": 0.0},
    },
}
