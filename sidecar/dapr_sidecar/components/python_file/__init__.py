"""Components in Python files that a manifest names: found, read, checked, run in this process."""
