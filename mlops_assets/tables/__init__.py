"""Tables between source and model: their contract, profile and publication."""
