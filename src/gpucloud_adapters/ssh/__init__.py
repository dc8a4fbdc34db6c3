"""Nodes over SSH: the driver, the shells, and the program that runs on a Linux node."""
