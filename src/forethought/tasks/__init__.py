"""Problems whose answers can be verified: one family a file, and what all families share."""
