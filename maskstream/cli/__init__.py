"""The command line: one module per subcommand, with `add_options` and `run`, and what they share."""
