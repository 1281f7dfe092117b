"""Work dirs and the checkpoints in them."""
