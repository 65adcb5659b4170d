"""Great Expectations: what a table must be before anything is computed from it."""
