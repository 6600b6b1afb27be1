"""What of a chunk goes to the vector store."""

import numpy as np
import pytest

from ibid import points
from ibid.db.tables import ChunkRow, Document
from ibid.embedding.bm25 import bm25_for
from ibid.embedding.texts import name_words
from ibid.types import SparseConfig
from ibid.vectors.port import PointPayload

PAYLOAD = PointPayload("doc_1", "ver_1", ("*",), 0.0, None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Northwind_Health-Plus (2024).pdf", "Northwind Health Plus 2024"),
        ("handbook", "handbook"),
        ("a/b.tar.gz", "b tar"),
        ("Über uns.docx", "Über uns"),
        ("", ""),
    ],
)
def test_words_of_a_name(name, words):
    assert name_words(name) == words


def test_a_chunk_is_found_by_the_name_of_its_document_where_the_generation_says_so():
    chunk = ChunkRow(
        id="00000000-0000-0000-0000-000000000001", ordinal=7, heading=[], text="Ten days.", language="en"
    )
    document = Document(name="vacation_policy.txt")
    made = {
        named: points.point(
            chunk, 9, document, np.ones(4, np.float32), bm25_for(SparseConfig(named=named)), PAYLOAD
        )
        for named in (False, True)
    }
    asked = set(bm25_for(SparseConfig()).query("vacation policies").indices)
    assert not asked & set(made[False].sparse.indices)
    assert asked <= set(made[True].sparse.indices)
    assert (made[True].ordinal, made[True].of) == (7, 9)
