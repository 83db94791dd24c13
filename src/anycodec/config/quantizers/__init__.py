"""Specs of the quantizers, one file a kind."""
