"""The canvas in Chromium: boxes, masks, guides, layers, what the server says of them, and what it costs."""
# ruff: noqa: F811  (fixtures of another file)
from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import requests
from PIL import Image

from tests.test_masks import encoded
from tests.test_page import generate, page, write  # noqa: F401


@pytest.fixture(scope="module", autouse=True)
def accordion(page):
    page.evaluate("""() => {
        window.asked = [];
        window.fetch = new Proxy(window.fetch, {apply: (to, on, given) => { window.asked.push(given[0]); return to.apply(on, given); }});
    }""")
    for side in ("width", "height"):
        write(page, f"txt2img_{side}", "128")
    page.get_by_text("mixdiff", exact=True).first.click()


def plan_of(page) -> dict:
    return json.loads(page.locator("[id$=mixdiff_plan] textarea").first.input_value())


def dragged(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Between two places in fractions of the canvas."""
    stage = page.locator(".mixdiff-stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    (x0, y0), (x1, y1) = ((box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=4)
    page.mouse.up()


@pytest.fixture
def editor(page):
    page.locator("[id$=mixdiff_plan] textarea").first.fill("")
    page.locator(".mixdiff-stage").first.wait_for(state="visible")
    return page


def test_a_region_is_drawn_moved_sized_and_taken_back(editor):
    dragged(editor, (0.26, 0.13), (0.51, 0.5))
    assert plan_of(editor) == {"regions": [{"box": [0.25, 0.125, 0.5, 0.5]}]}, "on the grid of cells: 16 of 128 px"
    assert editor.locator("[id$=mixdiff_enabled] input").first.is_checked()
    dragged(editor, (0.4, 0.3), (0.65, 0.3))
    assert plan_of(editor)["regions"][0]["box"] == [0.5, 0.125, 0.75, 0.5]
    dragged(editor, (0.75, 0.5), (0.99, 0.9))
    assert plan_of(editor)["regions"][0]["box"] == [0.5, 0.125, 1, 0.875]
    dragged(editor, (0.7, 0.3), (0.2, -0.5))
    assert plan_of(editor)["regions"][0]["box"] == [0, 0, 0.5, 0.75], "it stays on the canvas"
    for key, box in (("ArrowRight", [0.0625, 0, 0.5625, 0.75]), ("Shift+ArrowDown", [0.0625, 0, 0.5625, 0.8125])):
        editor.keyboard.press(key)
        assert plan_of(editor)["regions"][0]["box"] == box
    editor.keyboard.press("Control+d")
    assert len(plan_of(editor)["regions"]) == 2
    editor.keyboard.press("Delete")
    editor.keyboard.press("Control+z")
    assert len(plan_of(editor)["regions"]) == 2
    for _ in range(6):
        editor.keyboard.press("Control+z")
    assert plan_of(editor) == {"regions": [{"box": [0.25, 0.125, 0.5, 0.5]}]}
    editor.keyboard.press("Control+Shift+z")
    assert plan_of(editor)["regions"][0]["box"] == [0.5, 0.125, 0.75, 0.5]


def test_a_template_and_three_prompts_are_three_objects_in_place(editor):
    editor.locator(".mixdiff-template").first.select_option("four quadrants")
    boxes = [region["box"] for region in plan_of(editor)["regions"]]
    assert boxes[0] == [0, 0, 0.5625, 0.5625] and boxes[3] == [0.4375, 0.4375, 1, 1]
    for i, name in enumerate(("red circle", "blue square", "yellow cross", "white circle")):
        editor.locator(".mixdiff-panel textarea[data-key=prompt]").nth(i).fill(f"a {name} on a gray background")
    editor.locator(".mixdiff-panel").nth(1).locator("textarea").first.focus()
    editor.locator(".mixdiff-panel").nth(1).locator("[data-key=weight]").fill("2.5")
    plan = plan_of(editor)
    assert [r["prompt"] for r in plan["regions"]][2] == "a yellow cross on a gray background" and plan["regions"][1]["weight"] == 2.5
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('U-Net calls')")
    generate(editor)
    editor.wait_for_function("document.querySelector('#html_info_txt2img textarea').value.includes('white circle')")


def test_the_editor_shows_what_is_typed_below_and_says_what_is_wrong(editor):
    text = editor.locator("[id$=mixdiff_plan] textarea").first
    text.fill('{"regions": [{"box": [0, 0, 0.5, 1], "prompt": "left", "unheard": 1}, {"prompt": "over all"}], "base": {"share": 0.1}}')
    assert [label.inner_text() for label in editor.locator(".mixdiff-label").all()] == ["1 left", "2 over all"]
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('regions[0].unheard')")
    text.fill("{")
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('not JSON')")
    text.fill('{"regions": [{"prompt": "<img src=x onerror=alert(1)>"}], "base": {"share": 0.1}}')
    assert editor.locator(".mixdiff-box img").count() == 0
    editor.locator(".mixdiff-box").first.focus()
    editor.keyboard.press("Delete")
    assert plan_of(editor) == {"regions": [], "base": {"share": 0.1}}, "what the editor does not know stays"


def test_what_was_pasted_is_what_is_edited(editor):
    """gradio writes into the text box without an event."""
    dragged(editor, (0.26, 0.13), (0.51, 0.5))
    editor.evaluate("""() => { document.querySelector('[id$=mixdiff_plan] textarea').value =
        '{"regions": [{"name": "pasted", "box": [0, 0, 0.5, 0.5]}, {"name": "two"}]}'; }""")
    editor.locator(".mixdiff-box").first.focus()
    editor.keyboard.press("ArrowRight")
    assert [r.get("name") for r in plan_of(editor)["regions"]] == ["pasted", "two"]
    assert plan_of(editor)["regions"][0]["box"] == [0.0625, 0, 0.5625, 0.5]


def test_the_canvas_has_the_jobs_shape(editor):
    def shape():
        box = editor.locator(".mixdiff-stage").first.bounding_box()
        return box["width"] / box["height"]

    assert shape() == pytest.approx(1, abs=0.02)
    def comes(ratio: float, x: str):
        """The shape, and where a region of the right half begins."""
        editor.wait_for_function("""([ratio, x]) => {
            const stage = document.querySelector(".mixdiff-stage"), field = document.querySelector(".mixdiff-panel [data-key=box]");
            return Math.abs(stage.clientWidth / stage.clientHeight - ratio) < .05 && field.value === x;
        }""", arg=[ratio, x])

    write(editor, "txt2img_width", "256")
    editor.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"box": [0.5, 0, 1, 1]}]}')
    comes(2, "128")
    editor.locator("#txt2img_height input[type=range]").evaluate("""slider => {
        slider.value = 512;
        slider.dispatchEvent(new Event("input", {bubbles: true}));
    }""")
    comes(0.5, "128")
    write(editor, "txt2img_height", "128")
    write(editor, "txt2img_width", "128")
    comes(1, "64")
    editor.locator("[id$=mixdiff_plan] textarea").first.fill('{"canvas": [4096, 2048], "regions": [{"box": [0.5, 0, 1, 1]}]}')
    comes(2, "2048")
    editor.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"box": [0.5, 0, 1, 1]}]}')
    comes(1, "64")


# --- masks ---

def at(page, x: float, y: float) -> tuple[float, float]:
    stage = page.locator(".mixdiff-stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def mask(page, index: int = 0) -> np.ndarray:
    """Of a region."""
    return stored(page, plan_of(page)["regions"][index]["mask"])


def stored(page, name: str) -> np.ndarray:
    """(height, width) in 0..1, of a mask."""
    digest = name.partition(":")[2]
    answer = requests.get(f"{page.host.url}/mixdiff/v1/assets/{digest}", timeout=60)
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("L")) / 255


def masks_are(page, count: int) -> None:
    page.wait_for_function("n => JSON.parse(document.querySelector('[id$=mixdiff_plan] textarea').value).regions.filter((r) => r.mask).length === n", arg=count)


def changed(page, act) -> None:
    before = page.locator("[id$=mixdiff_plan] textarea").first.input_value()
    act()
    page.wait_for_function("old => document.querySelector('[id$=mixdiff_plan] textarea').value !== old", arg=before)


@pytest.fixture
def painter(editor):
    yield editor
    editor.get_by_role("button", name="Draw, move and resize boxes (V)").click()


def test_a_mask_is_painted_erased_and_taken_back(painter):
    painter.get_by_role("button", name="Paint the selected region's mask (B)").click()
    changed(painter, lambda: dragged(painter, (0.2, 0.5), (0.6, 0.5)))
    painted = mask(painter)
    assert painted.shape == (128, 128) and painted[64, 40] == 1 and painted[64, 90] == painted[20, 40] == 0
    assert ((painted > 0.1) & (painted < 0.9)).any(), "soft"
    first = plan_of(painter)
    assert "box" not in first["regions"][0] and painter.locator(".mixdiff-mask").count() == 1
    changed(painter, lambda: dragged(painter, (0.6, 0.5), (0.8, 0.5)))
    assert mask(painter)[64, 90] == 1 and mask(painter)[64, 40] == 1, "goes on with what is there"
    painter.get_by_role("button", name="Erase from the selected region's mask (E)").click()
    changed(painter, lambda: dragged(painter, (0.3, 0.5), (0.31, 0.52)))
    assert mask(painter)[64, 40] < 0.01 and mask(painter)[64, 90] == 1
    painter.locator(".mixdiff-stage").first.focus()
    for _ in range(2):
        painter.keyboard.press("Control+z")
    assert plan_of(painter) == first
    painter.get_by_role("button", name="Clear the mask of what is selected").click()
    assert plan_of(painter) == {"regions": [{}]}


def test_strokes_that_follow_each_other_at_once_are_all_there(painter):
    painter.get_by_role("button", name="Paint the selected region's mask (B)").click()
    for y in (0.2, 0.5, 0.8):
        dragged(painter, (0.2, y), (0.7, y))
    painter.evaluate("() => document.querySelector('.mixdiff-editor').mixdiff.brush.saved")
    assert [mask(painter)[round(128 * y), 60] for y in (0.2, 0.35, 0.5, 0.65, 0.8)] == [1, 0, 1, 0, 1]
    assert len(plan_of(painter)["regions"]) == 1


def test_an_eraser_takes_away_from_a_box_and_a_move_takes_the_mask_along(painter):
    painter.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"box": [0, 0, 0.5, 0.5]}]}')
    painter.get_by_role("button", name="Erase from the selected region's mask (E)").click()
    changed(painter, lambda: dragged(painter, (0.25, 0.25), (0.26, 0.27)))
    assert mask(painter)[32, 32] < 0.01 and mask(painter)[4, 4] == 1 and mask(painter)[100, 100] == 0
    painter.locator(".mixdiff-stage").first.focus()
    painter.keyboard.press("v")
    changed(painter, lambda: dragged(painter, (0.1, 0.4), (0.6, 0.4)))
    assert plan_of(painter)["regions"][0]["box"] == [0.5, 0, 1, 0.5]
    assert mask(painter)[32, 96] < 0.01 and mask(painter)[4, 68] == 1 and mask(painter)[4, 4] == 0


def test_masks_are_painted_by_keyboard(painter):
    painter.locator(".mixdiff-stage").first.focus()
    for key in ("b", "ArrowLeft", "ArrowLeft"):
        painter.keyboard.press(key)
    assert painter.locator(".mixdiff-cursor").first.is_visible()
    painter.keyboard.down(" ")
    for _ in range(4):
        painter.keyboard.press("ArrowUp")
    changed(painter, lambda: painter.keyboard.up(" "))
    assert mask(painter)[60, 48] == mask(painter)[34, 48] == 1 and mask(painter)[100, 48] == 0


# --- guides ---

def dropped(page, x: float, y: float, data: bytes) -> None:
    page.locator(".mixdiff-stage").first.scroll_into_view_if_needed()
    page.evaluate("""([x, y, data]) => {
        const files = new DataTransfer(), bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        files.items.add(new File([bytes], "guide.png", {type: "image/png"}));
        document.elementFromPoint(x, y).dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, clientX: x, clientY: y, dataTransfer: files}));
    }""", [*at(page, x, y), base64.b64encode(data).decode()])


def test_an_image_that_is_dropped_on_the_canvas_is_a_guide(editor):
    data = base64.b64decode(encoded(Image.new("RGB", (64, 32), (200, 40, 40))))
    changed(editor, lambda: dropped(editor, 0.25, 0.5, data))
    [guide] = plan_of(editor)["guides"]
    assert guide["box"] == [0, 0.375, 0.5, 0.625] and guide["image"].startswith("sha256:")
    assert editor.locator(".mixdiff-box.guide img").evaluate("image => image.complete && image.naturalWidth") == 64
    panel = editor.locator(".mixdiff-panel.selected")
    panel.get_by_label("Strength (higher = closer to the guide").fill("0.8")
    panel.get_by_label("Fit").select_option("stretch")
    panel.get_by_label("Name").fill("flag")
    dragged(editor, (0.25, 0.5), (0.5, 0.5))
    assert plan_of(editor)["guides"] == [{"image": guide["image"], "box": [0.25, 0.375, 0.75, 0.625], "strength": 0.8, "fit": "stretch", "name": "flag"}]
    assert editor.locator(".mixdiff-box.guide img").evaluate("image => image.style.objectFit") == "fill"
    with editor.expect_file_chooser() as chooser:
        editor.get_by_role("button", name="Add a guide image").click()
    changed(editor, lambda: chooser.value.set_files([{"name": "g.png", "mimeType": "image/png", "buffer": data}]))
    assert len(plan_of(editor)["guides"]) == 2
    changed(editor, lambda: editor.locator(".mixdiff-stage").first.evaluate("""(stage, data) => {
        const clipboardData = new DataTransfer(), bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        clipboardData.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
        stage.dispatchEvent(new ClipboardEvent("paste", {bubbles: true, cancelable: true, clipboardData}));
    }""", base64.b64encode(data).decode()))
    assert len(plan_of(editor)["guides"]) == 3
    with editor.expect_response("**/mixdiff/v1/check"):         # asked for by the change before: its answer leaves what is said
        panel.get_by_label("Name").fill("banner")
        dropped(editor, 0.5, 0.9, b"no image")
        editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('cannot be a guide')")
    editor.wait_for_timeout(200)
    assert "cannot be a guide" in editor.locator(".mixdiff-note").first.inner_text()


# --- layers ---

def test_a_layers_fields_are_the_schemas(editor):
    editor.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"box": [0, 0, 0.5, 1]}, {"box": [0.5, 0, 1, 1]}]}')
    panel = editor.locator(".mixdiff-panel").nth(1)
    panel.get_by_label("Prompt", exact=True).focus()
    assert panel.get_by_label("Visible").is_checked()
    panel.get_by_label("Visible").uncheck()
    panel.get_by_label("Name").fill("right")
    assert panel.get_by_label("Window").locator("option").all_inner_texts() == ["gaussian", "constant", "quartic"]
    panel.get_by_label("Window").select_option("quartic")
    panel.get_by_label("Acts").select_option("steps")
    panel.get_by_label("To", exact=True).fill("0.5")
    panel.get_by_label("Width").fill("32")
    panel.get_by_label("Width").press("Tab")
    assert plan_of(editor)["regions"][1] == {"box": [0.5, 0, 0.75, 1], "enabled": False, "name": "right", "window": "quartic", "range": {"unit": "steps", "to": 0.5}}
    panel.get_by_label("Visible").check()
    panel.get_by_label("Window").select_option("gaussian")
    panel.get_by_label("Acts").select_option("always")
    assert plan_of(editor)["regions"][1] == {"box": [0.5, 0, 0.75, 1], "name": "right"}
    editor.get_by_role("button", name="Earlier in the list (Page up)").click()
    assert plan_of(editor)["regions"][0]["name"] == "right"
    editor.get_by_text("Base: the job's own prompt").click()
    editor.get_by_label("Share of the base inside regions").fill("0.25")
    assert plan_of(editor)["base"] == {"share": 0.25}
    editor.locator(".mixdiff-panel.selected").get_by_label("Weight").fill("-1")
    editor.wait_for_function("document.querySelector('.mixdiff-panel.wrong [aria-invalid=true]')?.dataset.key === 'weight'")


def test_the_tokens_of_a_prompt_are_shown_at_its_field(editor):
    editor.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"prompt": "a red circle"}]}')
    editor.wait_for_function("document.querySelector('.mixdiff-always .mixdiff-wide span').dataset.tokens === '3/75'")


# --- the view ---

def test_the_heat_map_follows_the_plan(editor):
    editor.locator(".mixdiff-template").first.select_option("two columns")
    heat = editor.get_by_role("button", name="How much each region has to say where (H)")
    heat.click()
    shown = "document.querySelector('.mixdiff-heat').naturalWidth === 16 && !document.querySelector('.mixdiff-heat').hidden"
    editor.wait_for_function(shown)
    old = editor.locator(".mixdiff-heat").first.get_attribute("src")
    editor.locator(".mixdiff-template").first.select_option("two rows")
    editor.wait_for_function(f"document.querySelector('.mixdiff-heat').src !== '{old}' && {shown}")
    heat.click()
    assert not editor.locator(".mixdiff-heat").first.is_visible()


def test_zoom_and_pan(editor):
    stage = editor.locator(".mixdiff-stage").first
    before = stage.bounding_box()
    stage.focus()
    for _ in range(4):
        editor.keyboard.press("+")
    zoomed = stage.bounding_box()
    assert zoomed["width"] == pytest.approx(before["width"] * 1.25**4, rel=0.01) and zoomed["x"] < before["x"]
    editor.keyboard.press("Control+ArrowLeft")
    assert stage.bounding_box()["x"] > zoomed["x"]
    frame = editor.locator(".mixdiff-frame").first.bounding_box()
    middle = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    editor.mouse.move(*middle)
    editor.mouse.down(button="middle")
    editor.mouse.move(middle[0], middle[1] - 40, steps=3)
    editor.mouse.up(button="middle")
    assert stage.bounding_box()["y"] == pytest.approx(zoomed["y"] - 40, abs=1)
    assert editor.locator("[id$=mixdiff_plan] textarea").first.input_value() == ""
    stage.focus()
    editor.keyboard.press("0")
    assert stage.bounding_box()["width"] == pytest.approx(before["width"])
    editor.keyboard.down("Control")
    editor.mouse.wheel(0, -300)
    editor.keyboard.up("Control")
    editor.wait_for_function("document.querySelector('.mixdiff-stage').style.transform.includes('scale(2.7')")
    editor.get_by_role("button", name="The whole canvas (0)").click()


def test_the_last_result_below_the_regions(editor):
    generate(editor)
    editor.wait_for_selector("#txt2img_gallery img")
    editor.get_by_label("Background").select_option("result")
    editor.wait_for_function("document.querySelector('.mixdiff-backdrop').naturalWidth === 128")
    editor.get_by_label("Background").select_option("none")
    assert not editor.locator(".mixdiff-backdrop").first.is_visible()


# --- by keyboard, for everybody, and for nothing while it is closed ---

def test_regions_are_made_and_changed_by_keyboard_alone(editor):
    editor.locator(".mixdiff-stage").first.focus()
    for key in ("n", "ArrowLeft", "n", "Shift+ArrowRight", "PageUp"):
        editor.keyboard.press(key)
    assert [r["box"] for r in plan_of(editor)["regions"]] == [[0.25, 0.25, 0.8125, 0.75], [0.1875, 0.25, 0.6875, 0.75]]
    editor.keyboard.press("Enter")
    editor.keyboard.type("a cross")
    assert plan_of(editor)["regions"][0]["prompt"] == "a cross"


def test_a_drag_writes_the_plan_once(editor):
    editor.evaluate("""() => {
        window.written = 0;
        document.querySelector("[id$=mixdiff_plan] textarea").addEventListener("input", () => { window.written++; });
    }""")
    dragged(editor, (0.26, 0.13), (0.51, 0.5))
    dragged(editor, (0.4, 0.3), (0.65, 0.3))
    assert editor.evaluate("window.written") == 2


def test_escape_takes_a_drag_back(editor):
    editor.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"box": [0, 0, 0.5, 0.5]}]}')
    editor.mouse.move(*at(editor, 0.2, 0.2))
    editor.mouse.down()
    editor.mouse.move(*at(editor, 0.6, 0.6), steps=3)
    editor.evaluate("() => { window.told = 0; document.addEventListener('keydown', () => { window.told++; }, {once: true}); }")
    editor.keyboard.press("Escape")
    assert editor.evaluate("window.told") == 0, "the page would interrupt its job"
    editor.mouse.move(*at(editor, 0.7, 0.7), steps=3)
    editor.mouse.up()
    assert plan_of(editor) == {"regions": [{"box": [0, 0, 0.5, 0.5]}]}
    assert editor.locator(".mixdiff-box").first.evaluate("box => box.style.left") == "0%"


def axe_finds(page, theme: str, where: str = "document.querySelector('.mixdiff-editor').closest('[id$=mixdiff_mixdiff]')") -> list[tuple]:
    """What is serious in the accordion, with all of it open."""
    from axe_playwright_python.base import AXE_FILE_PATH
    page.evaluate(f"document.body.classList.toggle('dark', {json.dumps(theme == 'dark')})")
    page.evaluate("document.querySelectorAll('.mixdiff-editor details').forEach((details) => { details.open = true; })")
    page.wait_for_timeout(300)
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    found = page.evaluate(f"() => axe.run({where})")
    page.evaluate("document.body.classList.remove('dark')")
    assert {"color-contrast", "label", "button-name", "select-name"} <= {rule["id"] for rule in found["passes"]}
    return [(v["id"], v["impact"], [node["html"][:150] for node in v["nodes"]][:3]) for v in found["violations"] if v["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(editor, theme):
    image = "data:image/png;base64," + encoded(Image.new("L", (8, 8), 255))
    plan = {"regions": [{"prompt": f"region {i}", "mask": image if i == 2 else None, "range": {"unit": "steps"}} for i in range(8)], "guides": [{"image": image}]}
    editor.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan))
    editor.locator(".mixdiff-panel textarea").first.focus()
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('U-Net calls')")
    assert axe_finds(editor, theme) == []


def test_a_closed_accordion_costs_nothing(editor):
    editor.evaluate("""() => {
        window.polled = 0;
        const own = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value"), text = document.querySelector("[id$=mixdiff_plan] textarea");
        Object.defineProperty(text, "value", {configurable: true, get() { window.polled++; return own.get.call(this); }, set(v) { own.set.call(this, v); }});
    }""")
    steps = editor.locator("#txt2img_steps input[type=number]").first

    def work() -> tuple[int, int]:
        """What is asked of the server and of the plan's text while the page is used."""
        editor.evaluate("() => { window.polled = 0; window.asked.length = 0; }")
        for value in ("3", "2"):
            steps.fill(value)
        editor.wait_for_timeout(900)
        return editor.evaluate("[window.asked.filter((url) => String(url).includes('mixdiff')).length, window.polled]")

    asked, polled = work()
    assert asked and polled > 1, "open, it does"
    editor.get_by_text("mixdiff", exact=True).first.click()
    editor.locator(".mixdiff-stage").first.wait_for(state="hidden")
    editor.wait_for_timeout(100)
    assert work() == [0, 0]
    editor.get_by_text("mixdiff", exact=True).first.click()
    editor.locator(".mixdiff-stage").first.wait_for(state="visible")
    editor.evaluate("() => { delete document.querySelector('[id$=mixdiff_plan] textarea').value; }")
    assert work()[0]


def test_after_all_that_there_was_no_error(page):
    assert page.problems == []
