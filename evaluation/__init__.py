"""Is every label still true? Drift by a face detector beside its own noise, and a certificate for every view."""
