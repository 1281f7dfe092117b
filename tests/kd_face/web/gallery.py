"""A gallery of stand-in people, and words about pages."""

import re

from kd_face import unknown_faces

from ..stand_ins import blocks, enrol, png

NASTY = "<script>alert(1)</script>{{7*7}}"


def fill(home, networks, people=3, pictures=3):
    """Enrol people p0, p1, ...; return the pictures' ids by person."""
    return {person: enrol(home, networks, person, range(pictures))[1] for person in range(people)}


def keep_unknown(home, days=7):
    with home.write() as session:
        unknown_faces.set_days(session, days, "test")


def image(person, variant=1):
    return png(blocks(person, variant))


def links(page):
    """Return the addresses that a page leads to or sends forms to."""
    return set(re.findall(r'(?:href|action|src)="(/[^"]*)"', page.text))
