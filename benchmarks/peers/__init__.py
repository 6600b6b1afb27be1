"""Ibid beside other released packages, each on the same files with the same weights: `make bench-peers`.

Every peer is installed from its released packages into an environment of its own below `build/peers/`, and is used as
its own quick start shows: its reader, its default splitting, its in-process store, and its hybrid retrieval where its
introduction shows that. Each starts in a fresh process with the same number of threads, without network.

- Ingestion: seconds from files to searchable, for the six handbooks of Contoso. Loading a model and the first encoding
  of a process are not in it, for Ibid neither: its server has read its sample when the clock starts. Ibid's time goes
  from the first byte of the upload to the end of the last job, with everything written to disk; the peers keep theirs
  in memory.
- Text never embedded: all of these frameworks give the encoder chunks that are longer than it reads, and it drops the
  rest in silence. Each peer reports its chunks; `coverage` finds them in the text that the peer read, and counts.
- Search: the median over the 201 questions about Contoso, ten passages each, asked one after the other in the process
  that holds the index, the question's encoding included. For Ibid it is what its server says in `timings.total`;
  what a client waits over HTTP stands beside it.
- Quality: nDCG@10 of the 300 questions of SciFact over its 5,183 abstracts, each abstract a document, ranked by its
  best chunk among the first 50 found.
"""
