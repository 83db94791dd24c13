"""Networks that read bases from nanopore current."""
