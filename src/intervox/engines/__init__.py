"""Speech synthesisers: who can speak, and a method that renders a text."""
