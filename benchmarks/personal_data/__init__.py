"""Personal data: how much is found, how much business text is damaged, and how fast."""
