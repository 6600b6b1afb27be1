"""The language pipeline that unstructured asks for sentences and verbs."""

import logging
from functools import cache
from typing import Final

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from unstructured.nlp import tokenize

log = logging.getLogger(__name__)

_MODEL: Final = "en_core_web_sm"
_ENDINGS: Final = ("ed", "ing")
_SHORTEST: Final = 5
"""Letters: shorter words that end like this are rarely verbs (red, king)."""
_VERBS: Final = frozenset(
    """
    accept add agree allow am answer appear apply are arrive ask be became become been began begin believe bring build
    buy call came can carry change choose come consider contain continue cost could cover create cut decide describe
    develop did do does done draw drive eat enter expect explain fall feel fill find follow gave get give go goes gone
    got grow had happen has have hear help hold include includes increase is keep knew know lead learn leave let like
    live look lose made make may mean meet might move must need offer open pay play provide provides put reach read
    receive remain remember require requires run said saw say see seem send serve set shall should show sit speak spend
    stand start stay stop take talk teach tell think took try turn understand use uses wait walk want was watch went
    were will win work would write wrote
    """.split()  # noqa: SIM905 - a list of words is read best as words
)


@Language.component("ibid_tagger")
def _tag(document: Doc) -> Doc:
    """Mark what is probably a verb: all that unstructured asks of tags is whether a text has one."""
    for token in document:
        word = token.lower_
        verb = word in _VERBS or (len(word) >= _SHORTEST and word.endswith(_ENDINGS))
        token.tag_ = "VB" if verb else "NN"
    return document


@cache
def prepare_language() -> None:
    """Give unstructured a language pipeline that is here, and load it; by itself it would download one."""
    if not spacy.util.is_package(_MODEL):
        log.info("The spaCy model %s is not installed; sentences and verbs are told by rules.", _MODEL)
        pipeline = spacy.blank("en")
        pipeline.add_pipe("sentencizer")
        pipeline.add_pipe("ibid_tagger")
        tokenize._load_spacy_model = lambda: pipeline  # noqa: SLF001 - where the download would start
    tokenize.pos_tag("Words are loaded.")
