"""What every method shares: device, model store, references, seeds, errors, files."""
