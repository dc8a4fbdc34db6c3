"""Pages: a handler parses, calls use cases, and hands its template one frozen view row."""
