"""MQTT 3.1.1, for the message bus and the binding."""
