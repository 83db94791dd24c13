"""Building blocks of the networks; activations are [B T C], parameters have torch's shapes."""
