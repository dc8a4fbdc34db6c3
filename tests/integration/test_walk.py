"""The long walk: as the short one of the unit tests, only more of it. WALKS=5000 for a night."""

import os

import pytest
from hypothesis import settings

from walk import Walk

WALKS = int(os.environ.get("WALKS", "300"))

TestWalk = pytest.mark.timeout(60 + WALKS)(Walk.TestCase)
TestWalk.settings = settings(max_examples=WALKS, stateful_step_count=40, deadline=None)
