"""Demo: three small detectors on the built-in digits, trained, measured and drawn."""
