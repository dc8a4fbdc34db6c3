"""A whole cloud in memory: every port of the core, for tests, embedding and simulation.

Shipped with the bare wheel; needs the standard library only.
"""
