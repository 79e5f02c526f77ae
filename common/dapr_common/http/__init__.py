"""HTTP/1.1 and h2c over C parsers, both sides; no framework on the request path."""
