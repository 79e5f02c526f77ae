"""Workload identities and API tokens."""
