"""What every program of the runtime needs; imports no program."""

RUNTIME_VERSION = "1.18.3"
"""The Dapr release whose wire this runtime speaks; reported as ``runtimeVersion``."""
