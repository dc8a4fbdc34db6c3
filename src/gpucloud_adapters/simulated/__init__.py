"""Stand-ins for vendors: true to their protocols, with fault scripts, and always labelled.

They run only under ``gpucloud up`` or when asked for by name.
"""
