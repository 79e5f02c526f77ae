"""Leases kept in systems that people run beside Dapr outside Kubernetes."""
