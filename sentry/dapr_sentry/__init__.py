"""Dapr's certificate authority: one gRPC method, a store for the CA, validators for callers."""
