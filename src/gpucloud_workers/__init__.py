"""Headless workers: take due work up, hand events on, settle, and meet deadlines.

Any number, on any host. Redis only makes them fast; everything they do is found again in due
rows of the database.
"""
