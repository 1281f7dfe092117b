"""Cost of distillation and of recall@K; part of the repository, not of the package."""
