"""Images read from registries and web servers: declared places only."""
