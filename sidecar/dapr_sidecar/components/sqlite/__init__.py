"""SQLite off the loop: one thread per database."""
