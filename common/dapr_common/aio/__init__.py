"""Running, stopping and waiting, the same for every program."""
