"""From raw data to the model's rows."""
