"""Logs, metrics, traces and health, the same for every program."""
