"""What a result folder knows of its slides: which file each id stands for.

Ids come from file names, and files of one name may come one after the other. A slide
that the folder knows keeps its id; one that isn't that slide doesn't get it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from segpipe.config import SlideRef
from segpipe.errors import SlideError
from segpipe.slides import slide_fingerprint
from segpipe.stages.finished import Asked, read_done, read_plan
from segpipe.stages.grounds import signature_of
from segpipe.stages.plan import Grounds
from segpipe.stages.quarantine import Quarantine
from segpipe.stores.ledger import Ledger

DIGITS = re.compile(r"-[0-9a-f]{8}$")
"""What is put behind ids that would be the same."""


@dataclass(frozen=True, kw_only=True)
class KnownSlides:
    """The slides of a result folder, looked up when first asked for."""

    asked: Asked
    """The folder, and what signatures depend on."""

    def id_of(self, path: Path, made: str) -> str | None:
        """Return what the slide at a path is called already.

        Parameters
        ----------
        path
            Of the slide.
        made
            The id that its name makes; it may be called that with digits behind it.

        Returns
        -------
        str or None
            None if no slide of such a name was read there.
        """
        lies = path.resolve()
        like = self._like(made)
        return next((one for one in like if self.path_of(one) == lies), None)

    def moved_id_of(self, path: Path, made: str) -> str | None:
        """Return what a slide is called that lay elsewhere, where nothing is now."""
        for one in self._like(made):
            grounds = self.grounds(one)
            if grounds is None or grounds.path.exists():
                continue
            if self._content(path) == _of_the_slide(grounds) != "":
                return one
        return None

    def is_taken(self, path: Path, made: str) -> bool:
        """Whether an id stands for a slide that is another and is still there."""
        for one in self._like(made):
            grounds = self.grounds(one)
            if one.casefold() == made.casefold() and grounds is not None:
                is_there = grounds.path != path.resolve() and grounds.path.exists()
                return is_there and self._content(path) != _of_the_slide(grounds)
        return False

    def path_of(self, slide_id: str) -> Path | None:
        """Return where a slide was read; None if nothing is known of it."""
        grounds = self.grounds(slide_id)
        return None if grounds is None else grounds.path

    def fingerprint(self, path: Path) -> str:
        """Return a slide's fingerprint; slides that look as they did aren't read.

        Raises
        ------
        SlideError
            If it can't be read.
        """
        grounds = self._by_path.get(path.resolve())
        slide = SlideRef(id="any", path=path)
        if grounds and grounds.signature == signature_of(slide, self.asked.settings):
            return _of_the_slide(grounds)
        return slide_fingerprint(path)

    def grounds(self, slide_id: str) -> Grounds | None:
        """Return what is known of a slide: by its result, its plan or its failure."""
        if slide_id not in self._grounds:
            ledger = Ledger(self.asked.layout, slide_id)
            self._grounds[slide_id] = _grounds_in(ledger)
        return self._grounds[slide_id]

    def _content(self, path: Path) -> str:
        try:
            return self.fingerprint(path)
        except SlideError:
            return ""

    def _like(self, made: str) -> Iterable[str]:
        return self._by_name.get(made.casefold(), ())

    @cached_property
    def _grounds(self) -> dict[str, Grounds | None]:
        return {}

    @cached_property
    def _ids(self) -> list[str]:
        layout = self.asked.layout
        ledgers = (path.name for path in layout.ledger_root.glob("*/"))
        records = (path.stem for path in layout.quarantine("*").parent.glob("*.json"))
        return sorted({*ledgers, *records})

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Ids by what a file's name makes, in lower case: some disks ignore case."""
        found: dict[str, list[str]] = defaultdict(list)
        for one in self._ids:
            for made in {one.casefold(), DIGITS.sub("", one).casefold()}:
                found[made].append(one)
        return found

    @cached_property
    def _by_path(self) -> dict[Path, Grounds]:
        every = (self.grounds(one) for one in self._ids)
        return {grounds.path: grounds for grounds in every if grounds is not None}


def _grounds_in(ledger: Ledger) -> Grounds | None:
    done = read_done(ledger)
    if done is not None:
        return done.grounds
    plan = read_plan(ledger)
    if plan is not None:
        return plan.grounds
    record = Quarantine.read(ledger.layout, ledger.slide_id)
    if record is None:
        return None
    unknown = Grounds(path=Path(record.path), signature="", content="", choices="")
    return record.grounds or unknown


def _of_the_slide(grounds: Grounds) -> str:
    """Return the slide's fingerprint, without its mask's."""
    return grounds.content.partition("+")[0]
