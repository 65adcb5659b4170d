"""Who of a sample is taken, or what they weigh: one selector a file, named in `mix` under `choose`
and `weigh`."""
