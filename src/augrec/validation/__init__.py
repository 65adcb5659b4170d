"""Great Expectations: what a table must be before anything is computed from it.

`rules` says what makes a row bad, `quarantine` sets bad rows aside, `suites` and `splits` write
expectations from the limits, `expectations` runs them (the only module that imports Great
Expectations), `report` and `pages` write them down.
"""
