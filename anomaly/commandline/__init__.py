"""What the commands of the program share: their options, how these are read, what is printed, how a command ends.

May import all of anomaly, but nothing heavy before a command runs. Imported by cli.py and explain's commands.
"""
