"""The commands: ``python -m training COMMAND``; a file for each."""
