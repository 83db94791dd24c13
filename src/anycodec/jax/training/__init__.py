"""The training loop in JAX: one compiled step."""
