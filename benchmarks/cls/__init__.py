"""Cost of distilling classifiers."""
