"""Name resolvers."""
