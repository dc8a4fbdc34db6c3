"""The browser's terminal: shells that outlive the sockets they are shown on."""
