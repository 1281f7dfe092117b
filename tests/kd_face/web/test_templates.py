"""Templates and style: nothing is put in unescaped, everything can be read and reached."""

import re

import pytest

from kd_face.web.app import STATIC
from kd_face.web.pages.rendering import FOLDER

TEMPLATES = {str(one.relative_to(FOLDER)): one.read_text() for one in FOLDER.rglob("*.html")}
STYLE = (STATIC / "style.css").read_text()


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_values_are_escaped_and_within_quotes(name):
    text = TEMPLATES[name]
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", text)
    assert not re.search(r"\s[\w-]+=\s*\{\{", text)  # an attribute without quotes
    assert not re.search(r"(href|src|action)=\"\{\{(?! (at|image|back) )", text)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_fields_have_labels_and_images_texts(name):
    text = TEMPLATES[name]
    labels = set(re.findall(r'<label for="([^"]+)"', text))
    for tag in re.findall(r"<(?:input|select)\b[^>]*(?:>[^<]*\})?", text):
        is_hidden = "hidden" in tag or 'type="checkbox"' in tag  # a box is within its label
        named = re.search(r'id="([^"]+)"', tag)
        assert is_hidden or "aria-label=" in tag or (named and named.group(1) in labels), tag
    assert all("alt=" in tag for tag in re.findall(r"<img[^>]*>", text))


@pytest.mark.parametrize("name", sorted(one for one in TEMPLATES if "/" not in one))
def test_a_page_has_one_heading_and_a_title(name):
    text = TEMPLATES[name]
    if name != "base.html":
        assert text.count("<h1>") == 1
        assert "{% block title %}" in text


def schemes():
    """Return the colors of the light and of the dark scheme by name."""
    light, dark = STYLE.split("prefers-color-scheme: dark", 1)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", one)) for one in (light, dark)]
    return {"light": found[0], "dark": found[0] | found[1]}


def luminance(color):
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Return the contrast of two colors as WCAG 2.2 defines it, from 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_is_computed_as_wcag_defines_it():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#ff0000", "#ffffff") == pytest.approx(4.00, abs=0.01)


TEXTS = [(ink, back) for ink in ("ink", "soft", "accent", "bad") for back in ("card", "back")]
TEXTS += [("on-accent", "accent")] + [(one, f"{one}-back") for one in ("good", "bad", "warn")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_have_the_contrast_of_wcag_aa(scheme):
    colors = schemes()[scheme]
    for ink, back in TEXTS:
        assert contrast(colors[ink], colors[back]) >= 4.5, (ink, back)
    for edge in ("control", "accent", "bad"):  # of fields, of what has the focus, of curves
        for back in ("card", "back"):
            assert contrast(colors[edge], colors[back]) >= 3, (edge, back)


def test_colors_are_named_once_and_the_focus_is_seen():
    rest = STYLE.partition("* { box-sizing")[2]
    over_images = {"#000", "#2bd36a", "#ffb020", "#ffffff", "#000000"}
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b", rest)) <= over_images
    assert ":focus-visible { outline: 3px solid" in STYLE
    assert not re.search(r"outline:\s*(0|none)", STYLE)


def test_no_class_of_the_style_is_unused():
    used = " ".join(TEMPLATES.values()) + (STATIC / "camera.js").read_text()
    used += " first second "  # of a curve, from kd_face.web.charts
    for name in set(re.findall(r"\.([a-z][\w-]*)", re.sub(r"url\([^)]*\)|/\*.*?\*/", "", STYLE))):
        assert re.search(rf"[^\w-]{name}[^\w-]", used), name
