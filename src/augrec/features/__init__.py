"""Feature tables as they were at any moment, and Feast, which joins and serves them.

`build` makes the tables, `store` is the only module that imports Feast (seconds), `schema` says
what features there are.
"""

from augrec.features.schema import SERVICE


def feature_service_name() -> str:
    """The Feast service whose features models are trained on now; a model version is tagged with
    it."""
    return SERVICE
