"""The applications under test, each written as its project's documentation shows."""
