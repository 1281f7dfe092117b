"""A training run: runner, report, random numbers, prerequisites."""
