"""What the sidecar counts and traces, with Dapr's metric and span names."""
