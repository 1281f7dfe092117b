"""Gradients of losses at layers of the student: shares, and weights that are steered by them."""
