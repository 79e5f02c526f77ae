"""Workload identity: SPIFFE ids, certificates, their renewal, and TLS made of them."""
