"""Personal data: what is known of the people of a case, and what happens to what is found."""
