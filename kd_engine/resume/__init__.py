"""Resuming a training run."""
