"""What all consumers of brokers share: bounded workers, sessions that are opened again."""
