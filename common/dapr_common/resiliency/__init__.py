"""What a Resiliency resource says: durations, codes, trip expressions, policies and targets."""
