"""Search in stored embeddings with FAISS, and pages of results."""
