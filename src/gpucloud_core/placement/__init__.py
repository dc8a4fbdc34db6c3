"""Where a request goes: feasible sets, buckets of like nodes, and refusals with their reasons."""
