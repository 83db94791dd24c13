"""Encoder + quantizer + decoder, one module a codec."""
