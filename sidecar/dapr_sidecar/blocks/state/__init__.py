"""The state building block."""
