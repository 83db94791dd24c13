"""`python -m anycodec`."""

from anycodec.cli import main

main()
