"""The formula of ``metering.charge`` in SQL, so that a sum needs no row of what it adds up.

``div`` is exact where ``/`` rounds, and property tests compare the two.
"""

from typing import Final

COST: Final = """
    div(
        CAST(rate_micros_per_hour AS numeric) * greatest(
            0, extract(epoch FROM coalesce(ended_at, {}) - started_at)
        ) * 1000000,
        3600000000
    )
"""
"""What a row of ``usage_segments`` costs up to its end, or else up to the instant filled in."""
