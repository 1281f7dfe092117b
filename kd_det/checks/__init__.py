"""Checks of a detector's data and evaluators before a run."""
