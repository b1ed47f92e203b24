"""The ledger in SQL, once for every dialect: what differs between databases is in `accounting/sqlite.py` and `postgres.py`.

Rules are guarded once, by the schema or by a statement's WHERE; no comparison is repeated in Python. So a guard that is lost
turns a test red instead of hiding behind a second one.
"""
