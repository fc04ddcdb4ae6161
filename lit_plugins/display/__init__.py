"""Explanations for people to look at: HTML, pictures, tables. No framework is imported here."""
