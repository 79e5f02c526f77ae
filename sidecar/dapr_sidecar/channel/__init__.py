"""The way to the application."""
