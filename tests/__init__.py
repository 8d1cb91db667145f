"""A package, so that no `tests` of an installed distribution hides ours."""
