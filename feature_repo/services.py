"""Sets of features that a model is trained on and served with. A new set gets a new version; the
old one is kept."""

from __future__ import annotations

from feast import FeatureService

from augrec.features.schema import SERVICE
from views import item_features, user_features

recommendation = FeatureService(
    name=SERVICE,
    features=[user_features, item_features],
    description="features of users and items as of the time of an interaction",
)
