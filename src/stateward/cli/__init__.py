"""The command line: thin over the runtime. `workflows` is what a workflow's `graph.py` may import."""
