"""One module for each stage of dvc.yaml: read files, call the core, write files."""
