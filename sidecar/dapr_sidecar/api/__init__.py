"""The two transports of the Dapr API."""
