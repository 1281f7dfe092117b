"""Load and size of kdkit face."""
