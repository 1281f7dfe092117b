"""Relations between the samples of a batch, and of all ranks."""
