"""The method on arrays: NumPy and SciPy alone, and nothing else of the package."""
