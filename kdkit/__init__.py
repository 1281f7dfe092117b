"""kdkit: small vision models learn from large ones."""
