"""Mail: to a mail server over SMTP, or into a folder."""
