"""What stands in a picture's mask before it is drawn anew."""
from PIL import Image, ImageFilter, ImageOps


def fill(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The colours around the mask, blurred into it: further and further where it is deep. The rest of the picture stays."""
    unmasked = Image.composite(image.convert("RGBA"), Image.new("RGBA", image.size), ImageOps.invert(mask)).convert("RGBa")
    filled = Image.new("RGBA", image.size)
    for radius_px, times in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        blurred = unmasked.filter(ImageFilter.GaussianBlur(radius_px)).convert("RGBA")
        for _ in range(times):
            filled = Image.alpha_composite(filled, blurred)
    return filled.convert("RGB")
