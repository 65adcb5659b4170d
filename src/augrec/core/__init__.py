"""The base of all packages: components, configuration, errors, files, seeds, settings."""
