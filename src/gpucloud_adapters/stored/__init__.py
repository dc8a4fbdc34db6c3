"""What every store of rows agrees on, whatever it keeps them in.

Kinds of rows and what is unique among them, lists and their cursors, and what no store lets a
wrong program do. Standard library and core only: the memory adapter stands on it.
"""
