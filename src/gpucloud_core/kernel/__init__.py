"""What every concept stands on: errors, ids, time, state machines, units of work."""
