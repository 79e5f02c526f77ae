"""What Kubernetes holds for sidecars: resources by gRPC, Services, healing, leadership, status."""
