"""Cryptography providers."""
