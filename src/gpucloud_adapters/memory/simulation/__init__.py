"""The seeded world: the whole platform in virtual time, with everything going wrong.

The real use cases run on the memory adapters. Customers sign up, pay, launch, race and forget;
nodes lie, stall and die; workers are killed and fall asleep in the middle of things. Whatever
happens follows from one seed, and after every transaction the invariants are looked at. Needs the
standard library only, so the bare wheel runs it: ``gpucloud simulate``.
"""
