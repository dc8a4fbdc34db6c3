"""A project's right to a claim: the thing that lives, bills and is released."""
