"""Bindings: operations out of the app, events into it."""
