"""Finding tickets: the procedure, alone and inside `model.fit`."""
