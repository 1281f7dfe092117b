"""Recall@K: exact, without FAISS or OpenMMLab."""
