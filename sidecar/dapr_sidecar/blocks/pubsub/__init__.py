"""Publish and subscribe: the meaning of both, for every broker and both transports."""
