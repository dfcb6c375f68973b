"""Speech synthesisers: who can speak, and one function that renders a text."""
