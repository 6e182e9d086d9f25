"""Run as the init process inside a container. Imports nothing from outside this package."""
