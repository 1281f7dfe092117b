"""Config files: reading, checking and comparing them."""
