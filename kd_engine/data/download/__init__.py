"""Downloads of public datasets and weights."""
