"""Kafka, for the message bus and the binding."""
