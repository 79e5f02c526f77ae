"""Components: one file each, found through ``registry.py``, settings typed by ``metadata.py``."""
