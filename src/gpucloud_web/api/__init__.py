"""The JSON API under /api/v1: bodies in snake_case, one use case per handler."""
