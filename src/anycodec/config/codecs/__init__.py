"""Specs of the codecs, one file a family.

A spec knows, without any framework, what its codec does to a window: which axes it takes and the
stride of its token grid, so that cross-field mistakes are found before data is read.
"""
