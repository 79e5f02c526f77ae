"""Everything of an installation in one archive, for machines without a network."""
