"""What the networks of the paper's tables have in common, for `ablate`; one data set a file."""
