"""Where clips come from, and what is known of them."""
