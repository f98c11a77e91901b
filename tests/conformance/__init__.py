"""Another project's published tests, run on a class of this one; nothing of theirs is kept here."""
