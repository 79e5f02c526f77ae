"""Timeouts, retries and circuit breakers around one awaitable."""
