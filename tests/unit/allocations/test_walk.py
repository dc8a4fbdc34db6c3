"""A short walk in each run; the long one is among the integration tests."""

from hypothesis import settings

from walk import Walk

TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
