"""What the PostgreSQL components share."""
