"""What programs share: flags, exit codes, programs that they start, a quiet start."""
