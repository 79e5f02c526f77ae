"""Placement: tells sidecars which of them host actors of which type, so that all agree."""
