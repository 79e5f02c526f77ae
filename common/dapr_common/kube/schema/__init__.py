"""What Dapr's custom resources hold: every kind, every field, every limit, written once."""
