"""Weights of networks: where they come from and how they are loaded."""
