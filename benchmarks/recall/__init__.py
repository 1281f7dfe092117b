"""Cost of recall@K."""
