"""Dapr's sidecar injector: an admission webhook that adds the ``daprd`` container to pods."""
