"""Eight published recommendation models to serve and to time: inference only, random weights. Nothing here is trained.

`configurations` holds their sizes and imports no framework, `models` builds them, `export` writes their files.
"""
