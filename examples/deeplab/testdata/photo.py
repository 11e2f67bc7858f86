"""Cuts photo.jpg out of the photograph that matplotlib brings with its sample data:

    pip install matplotlib pillow && python3 photo.py

It is the US Navy's official portrait of Grace Hopper, of January 1984: a work of the United States government, and so in
the public domain. Matplotlib has it from commons.wikimedia.org/wiki/File:Grace_Hopper.jpg, which its comment says.
"""
from matplotlib.cbook import get_sample_data
from PIL import Image

with get_sample_data("grace_hopper.jpg") as f:
    whole = Image.open(f).convert("RGB")
whole.crop((0, 20, 512, 532)).resize((256, 256), Image.LANCZOS).save("photo.jpg", quality=90)
