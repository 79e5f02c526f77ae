"""What stands in the way of a set-up, and what to do about it: the parts of ``dapr check``."""
