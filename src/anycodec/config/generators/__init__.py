"""Specs of the generators, networks over a codec's latents or tokens, one file a kind."""
