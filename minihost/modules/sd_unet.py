"""Replacements of the U-Net (TensorRT and the like): there are none here."""
current_unet = None
current_unet_option = None
