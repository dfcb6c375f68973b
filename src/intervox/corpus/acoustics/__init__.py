"""do(condition) and new voices: what signal processing does to a rendition."""
