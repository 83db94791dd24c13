"""Specs of the loss terms, one file a term; `anycodec.config.loss` has them all."""
