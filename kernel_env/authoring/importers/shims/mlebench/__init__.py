"""What MLE-bench's competition folders import of their own package; the rest is in the checkout."""
