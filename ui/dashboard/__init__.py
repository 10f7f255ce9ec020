"""The dashboard of a study: progress while it is blinded, figures of readers and models after."""
