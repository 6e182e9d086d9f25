"""Where tasks and their data come from, other than the folders that ship with the package."""
