"""The second engine: 1-D codecs in JAX and Flax, twins of the torch ones (same names, same parameters)."""
