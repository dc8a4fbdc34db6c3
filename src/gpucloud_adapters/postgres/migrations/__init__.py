"""The schema's history. Plain SQL, one head, additive: expand, backfill, contract."""
