def error(a, b):
    return (a - b).abs().mean()
