"""Feature tables and Feast."""
