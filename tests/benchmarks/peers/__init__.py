"""One adapter per contestant of the benchmark; each runs in a virtual environment of its own.

Everything here but `signalbox` imports the standard library and its own contestant only.
"""
