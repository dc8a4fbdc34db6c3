"""Tasks: persisted sagas with steps, leases and a pure planner."""
