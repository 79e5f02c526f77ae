"""The dapr command line."""
