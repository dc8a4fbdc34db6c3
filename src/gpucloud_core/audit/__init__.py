"""The audit trail as a chain: sealed in the database, anchored outside it, verified by anyone."""
