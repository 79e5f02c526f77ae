"""The meaning of each building block, once for both transports."""
