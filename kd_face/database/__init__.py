"""Database of the face application: the truth that every cache is rebuilt from."""
