"""What goes through a scheduler service: jobs, and reminders where one is configured."""
