"""Cost of distilling detectors."""
