"""Building blocks that several codecs share."""
