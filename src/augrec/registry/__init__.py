"""MLflow: log, register, promote, roll back, reproduce."""
