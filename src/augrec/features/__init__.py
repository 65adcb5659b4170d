"""Point-in-time feature tables, and Feast, which joins and serves them.

`schema` defines the features, `build` computes the tables, `store` is the only module that imports
Feast (which takes seconds), `live_features` updates user features between two materializations.
"""

from augrec.features.schema import SERVICE


def feature_service_name() -> str:
    """The Feast feature service that models are trained on; a model version is tagged with it."""
    return SERVICE
