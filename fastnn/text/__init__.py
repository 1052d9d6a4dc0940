"""Words as vectors: corpora and vocabularies, skip-gram and CBOW, co-occurrence counts with PPMI and SVD, nearest
neighbours, analogies, evaluation, word2vec's file formats."""

from fastnn.text.cooccurrence import cooccurrence, pmi, ppmi
from fastnn.text.corpus import Corpus
from fastnn.text.decomposition import dense_svd, randomized_svd, svd_vectors
from fastnn.text.evaluation import evaluate_analogies, evaluate_similarity, read_analogies, read_word_pairs, spearman
from fastnn.text.sparse import CSRMatrix
from fastnn.text.vectors import WordVectors
from fastnn.text.vocabulary import Vocabulary
from fastnn.text.word2vec import CBOW, SkipGram, Word2Vec

__all__ = [
    "CBOW", "CSRMatrix", "Corpus", "SkipGram", "Vocabulary", "Word2Vec", "WordVectors", "cooccurrence", "dense_svd",
    "evaluate_analogies", "evaluate_similarity", "pmi", "ppmi", "randomized_svd", "read_analogies", "read_word_pairs",
    "spearman", "svd_vectors",
]  # fmt: skip
