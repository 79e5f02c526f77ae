"""Facts → HTML, one module for a group of pages; no I/O."""
