"""Who is told what, and when to try again: decisions as pure functions of explicit time and state."""
