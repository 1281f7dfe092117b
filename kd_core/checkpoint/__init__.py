"""Checkpoints: read without running code, loaded strictly, written whole or not at all."""
