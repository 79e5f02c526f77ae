"""The gRPC API: convert, call a block, convert."""
