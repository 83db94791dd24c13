"""Built-in sample data, deterministic by seed, written as real files."""
