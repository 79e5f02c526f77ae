"""The HTTP API: parse, call a block, write."""
