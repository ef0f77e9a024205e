"""SavedModels about as small as the weights that remain."""
