"""The retrain policy: from evidence about windows to a verdict, with one sentence why."""
