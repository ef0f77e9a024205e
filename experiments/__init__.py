"""Programs that reproduce the paper, one file a network."""
