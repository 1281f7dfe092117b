"""Chains of trainings: each link's student is the teacher of the next."""
