"""Tokens <-> bytes: the .acz container and its entropy coder."""
