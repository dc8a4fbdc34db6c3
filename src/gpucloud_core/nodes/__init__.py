"""The servers we operate: topology, slots, modes, and the driver that reaches them."""
