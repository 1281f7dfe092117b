"""Cost of a model (size, arithmetic, latency), and the joint score of accuracy and compression."""
