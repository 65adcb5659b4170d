"""Validation of raw tables and of prepared splits with Great Expectations.

`rules` defines what makes a row invalid, `quarantine` separates invalid rows, `suites` and `splits`
derive expectations from params.yaml, `expectations` runs them (the only module that imports Great
Expectations), `report` and `pages` write the report.
"""
