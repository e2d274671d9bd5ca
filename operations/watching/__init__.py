"""What a look means, and when to look: decisions as pure functions of explicit time and state."""
