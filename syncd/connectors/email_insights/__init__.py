"""What happens to the emails that a mail service sends for us: opens, clicks and bounces."""
