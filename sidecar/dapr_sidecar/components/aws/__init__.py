"""What the AWS components share: credentials, signatures, calls."""
