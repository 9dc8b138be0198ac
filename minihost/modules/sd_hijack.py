"""What the WebUI puts around the text encoder: here only its token counter."""
import math
from typing import Any

from modules import shared


class StableDiffusionModelHijack:
    def __init__(self) -> None:
        self.extra_generation_params: dict[str, Any] = {}       # of the embeddings that were met: there are none here

    def get_prompt_lengths(self, text: str) -> tuple[int, int]:
        """Tokens of a text, and how many the chunks hold that they need."""
        clip = shared.sd_model.cond_stage_model
        count = clip.tokenize_line(text)[1]
        return count, max(1, math.ceil(count / clip.chunk_length)) * clip.chunk_length


model_hijack = StableDiffusionModelHijack()
