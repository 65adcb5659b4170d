"""What everything else rests on: components, configuration, errors, files, seeds, settings."""
