"""File <-> Signal, one module a format."""
