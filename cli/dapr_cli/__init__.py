"""``dapr``: the command line of a Dapr runtime on this machine."""
