"""Data: datasets, images, lists, splits, transforms, built-in digits."""
