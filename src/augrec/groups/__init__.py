"""People who decide together: what their members' scores are, and how they become one list."""
