"""Embeddings of datasets: computing, storing and reading them."""
