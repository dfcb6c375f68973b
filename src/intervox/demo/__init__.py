"""A page on which anyone tries a model: two clips compared, and a keyword found in a recording."""
