"""Images, documents and clips before the GPU: read within bounds, checked, measured, and made ready for the engine.

`media.py` is the composition. Nothing is imported here: `pdf.py` and `video.py` also run as processes of their own.
"""
