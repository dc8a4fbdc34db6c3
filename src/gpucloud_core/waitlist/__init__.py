"""Waiting for capacity that is sold out: launched when it is free, or told of it, in fair turns."""
