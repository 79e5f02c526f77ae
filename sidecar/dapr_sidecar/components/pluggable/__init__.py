"""Components in processes of their own: Dapr's gRPC protocol over Unix sockets, one file a kind."""
