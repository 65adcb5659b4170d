"""augrec: retrains recommenders, and lets synthetic data in only where it proves that it helps."""

__version__ = "0.1.0"
