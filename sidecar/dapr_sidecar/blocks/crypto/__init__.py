"""The cryptography building block."""
