"""One file a paper, read top to bottom like the paper; each registers itself with
`registry.method`."""
