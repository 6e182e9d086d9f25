TARGET = "y"
