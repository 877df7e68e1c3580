"""The paper's trainings, one a file; docs/paper_protocol.md puts them in order."""
