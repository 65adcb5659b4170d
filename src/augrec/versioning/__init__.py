"""DVC and git: workspaces of runs, running stages, publishing results."""
