"""Mail: mailboxes over IMAP, maildirs, and the parsing they share."""
