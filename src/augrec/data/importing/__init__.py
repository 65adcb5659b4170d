"""Read tables from outside as they are: text files, Parquet, folders of either, databases.

Nothing is guessed: what could mean two things is refused with its place and the setting of
params.yaml that decides. `source` finds the reader, `delimited` and `quoting` read text, `folders`
lists the files of a folder, `place` names rows in messages.
"""
