"""HTTP/2 sessions without I/O."""
