"""How every neural generator trains."""
