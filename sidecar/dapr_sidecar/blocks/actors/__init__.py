"""Virtual actors: who owns them, whose turn it is, what they keep and what wakes them."""
