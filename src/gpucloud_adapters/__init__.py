"""What the core's ports are made of: one folder per vendor, none of which knows another.

``stored`` is no adapter: it says once what every store of rows has to keep.
"""
