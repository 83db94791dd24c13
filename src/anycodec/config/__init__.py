"""Typed configuration, independent of any engine.

run.py data.py codec.py quantizer.py loss.py train.py    the specs: what can be set
codecs/ quantizers/                                      one spec a file
schema.py keys.py completion.py                          the specs seen as sections and keys
source.py -> overrides.py -> loader.py                   file -> tree with lines -> checked spec
secrets.py mistakes.py nearest.py                        what is wrong, said so that it can be mended
"""
