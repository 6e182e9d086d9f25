"""What MLE-Dojo's competition folders import of their own package."""
