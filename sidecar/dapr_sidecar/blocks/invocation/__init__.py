"""Service invocation: calls to applications, wherever they run."""
