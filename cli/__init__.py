"""The command line of featx."""
