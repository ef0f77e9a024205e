"""Studies: a question each, answered by trainings; one program a file."""
