"""Replace the modules that MLE-bench's competitions import; the others come from the checkout."""
