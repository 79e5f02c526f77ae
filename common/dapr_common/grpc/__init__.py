"""gRPC over libnghttp2, both sides: unary, streaming, raw proxying, mTLS."""
