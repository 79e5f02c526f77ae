"""Build, start, reload, drain and stop a sidecar."""
