"""How a tree of files becomes shards of tokens: the plan, the worker, the executor, the manifest."""
