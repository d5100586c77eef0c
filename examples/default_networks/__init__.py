"""How the networks of the default bundle were made."""
