"""What kopf calls when a workload changes."""
