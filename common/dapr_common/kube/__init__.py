"""Dapr resources as typed objects, from YAML or JSON."""
