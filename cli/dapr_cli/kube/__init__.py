"""The Kubernetes side of the commands; imported only when one is asked for it."""
