"""Reports on a config, a model and finished runs: what ``kdkit check`` prints."""
