"""The rules of a GPU cloud, pure and embeddable.

Standard library only: no I/O, no clock and no randomness of its own. Time, ids and everything
outside come in through ports. A synchronous function here is pure; an asynchronous one touches
a port.
"""
