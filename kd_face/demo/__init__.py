"""Built-in gallery of ``kdkit face demo``, and the temporary installation that shows it."""
