"""Where people are: floors, walls and things that stand around."""
