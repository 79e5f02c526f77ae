"""The sidecar: Dapr's HTTP and gRPC APIs beside one application."""
