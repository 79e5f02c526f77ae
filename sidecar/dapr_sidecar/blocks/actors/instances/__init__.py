"""The actors that live on this sidecar."""
