"""From a genotype to a network."""
