"""DVC and git: run workspaces, stages, publishing."""
