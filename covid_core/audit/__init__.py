"""Checks of a collection, as findings with the rows they are about."""
