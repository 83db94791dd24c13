"""Priors of tokens: their networks in real numbers, and their training."""
