"""Which users of a sample are taken, or their weights: one selector a file, named in `mix` under
`choose` and `weigh`."""
