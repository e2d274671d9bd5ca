"""Everything about Slack: the notifier, its messages, and the classification of its errors."""
