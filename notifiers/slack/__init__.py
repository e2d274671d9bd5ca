"""Everything about Slack: the notifier, its messages and how its refusals are classified."""
