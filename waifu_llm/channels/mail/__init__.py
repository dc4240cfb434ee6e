"""Mail: heard by SMTP or IMAP, answered by SMTP, and an application's JSON."""
