"""The paper's table of parameters and run time, counted and timed on the networks that are built here."""
