"""Cost of distillation and recall@K, load of the face server; not part of the package."""
