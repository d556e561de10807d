"""Quality of the kit's answers: planted bugs that must be found, correct twins that must not be."""
