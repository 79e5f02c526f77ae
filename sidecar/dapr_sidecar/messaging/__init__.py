"""The way to other sidecars."""
