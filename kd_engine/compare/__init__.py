"""Comparison of trainings over seeds: runs, paired statistics, a verdict in words."""
