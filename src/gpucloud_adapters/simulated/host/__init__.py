"""A GPU host without GPUs: real SSH, real keys, and figures from one ``Topology``.

Nothing in this package starts a process or opens a shell of the machine it runs on.
"""
