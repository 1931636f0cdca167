"""The method as scikit-learn estimators; importing these imports scikit-learn, which scoring a saved model does not."""
