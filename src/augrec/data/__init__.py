"""The canonical tables: where they come from, how they are cleaned and split."""
