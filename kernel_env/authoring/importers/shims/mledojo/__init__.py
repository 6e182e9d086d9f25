"""Replace the modules that MLE-Dojo's competitions import from their own package."""
