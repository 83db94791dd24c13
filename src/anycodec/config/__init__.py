"""Typed configuration, independent of any engine."""
