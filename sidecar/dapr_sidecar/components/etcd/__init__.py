"""A client of etcd over the gRPC layer of this repository."""
