"""Eight published recommendation models to serve and to time: inference only, random weights. Nothing here is trained.

`configurations` says what they are and knows no framework, `models` builds them, `export` writes them down.
"""
