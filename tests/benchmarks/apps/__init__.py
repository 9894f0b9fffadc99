"""The servers under test, each as its own documentation has it."""
