"""Reports for readers: plots, pages, tables and sentences."""
