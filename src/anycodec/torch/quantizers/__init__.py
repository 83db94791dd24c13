"""One module a quantizer; its name is the spec's type."""
