"""anycodec: learned discrete codecs for signals of any kind."""

__version__ = "0.1.0"
