"""Side by side with peers, growth, and robustness: scripts that measure in one run and write tables
to results/."""
