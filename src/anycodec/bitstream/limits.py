"""Limits of the format. A reader refuses what exceeds them before it allocates anything."""

LARGEST_SECTION = 2**29
"""Bytes of a section's payload."""
LARGEST_JSON = 2**24
"""Bytes of one JSON document."""
DEEPEST_JSON = 64
"""Levels of nesting in JSON."""
MOST_LEVELS = 64
"""Token grids a segment."""
LARGEST_CODEBOOK = 2**24
"""Codes a level."""
MOST_GROUPS = 2**12
"""Groups of codes, and contexts, of a level."""
MOST_TOKENS = 2**26
"""Tokens of a segment, all levels together."""
MOST_AXES = 4
"""Axes of a token grid, without the one of the windows."""
MOST_STATISTICS = 2**26
"""Bytes of the statistics of a segment."""
MOST_MASKED = 2**28
"""Values of a segment with a mask."""
MOST_ATTACHMENTS = 256
"""Attachments a segment."""
LARGEST_ATTACHMENT = 2**28
"""Bytes of one attachment."""
LONGEST_NAME = 1024
"""Bytes of an attachment's name."""
LARGEST_EXTENT = 2**48
"""Samples, frames, rows or columns of a signal."""
INDEXED = 4096
"""Entries of an index section at most."""
MOST_RESTORED = 2**26
"""Values of a segment with an error bound."""
LARGEST_GRID = 2**40
"""A value on the grid of an error bound."""
MOST_MODELS = 2**8
"""Networks of a file."""
MOST_PARTS = 64
"""Parts of a segment beyond those of version 1."""
