"""Corpora, vocabularies, co-occurrence counts, PMI, SVD, neighbours, evaluation, word2vec files."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import text

DATA = Path(os.environ.get("FASTNN_DATA", ""))
SENTENCES = [["the", "cat", "sat"], ["the", "dog", "sat", "down"], [], ["the", "the"]]
words = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=12), min_size=1, max_size=20).filter(any)


# ---- corpora ----


def write(path, content):
    with gzip.open(path, "wt") if path.suffix == ".gz" else open(path, "w") as file:
        file.write(content)
    return path


def test_sources_are_alike(tmp_path):
    lines = [" ".join(s) for s in SENTENCES]
    plain = write(tmp_path / "a.txt", "\n".join(lines))
    packed = write(tmp_path / "a.txt.gz", "\n".join(lines) + "\n")
    halves = [write(tmp_path / "1.txt", "\n".join(lines[:2])), write(tmp_path / "2.txt", "\n".join(lines[2:]))]
    for source in (plain, str(plain), packed, halves, lines, SENTENCES, lambda: iter(lines)):
        for streaming in (False, True):
            corpus = text.Corpus(source, streaming=streaming)
            assert [s for s in corpus if s] == [s for s in SENTENCES if s]
            assert corpus.counts() == {"the": 4, "cat": 1, "sat": 2, "dog": 1, "down": 1}
            assert corpus.counts() == corpus.counts()
    once = text.Corpus(iter(lines))
    assert once.counts()["the"] == 4 == once.counts()["the"]


def test_tokenizer_and_case():
    corpus = text.Corpus(["A-b", "B"], tokenize=lambda line: line.split("-"), lowercase=True)
    assert list(corpus) == [["a", "b"], ["b"]]


@given(words, st.integers(1, 30), st.integers(1, 3), st.integers(1, 15))
@settings(max_examples=100, deadline=None)
def test_blocks_hold_the_text(sentences, size, min_count, longest):
    """Whole sentences of known words, in order; the same whether streamed or kept."""
    if max(text.Corpus(sentences).counts().values()) < min_count:
        return
    expected = None
    for streaming in (False, True):
        corpus = text.Corpus(sentences, streaming=streaming, max_sentence_length=longest)
        vocabulary = text.Vocabulary.build(corpus, min_count)
        pieces = [s[k : k + longest] for s in sentences for k in range(0, len(s), longest)]
        pieces = [[w for w in s if w in vocabulary] for s in pieces]
        blocks = list(corpus.blocks(vocabulary, size))
        found = []
        for ids, sentence in blocks:
            assert ids.dtype == sentence.dtype == np.int32
            found += [[vocabulary.words[k] for k in ids[sentence == n]] for n in np.unique(sentence)]
        assert found == [s for s in pieces if s]
        assert all(len(ids) >= size for ids, _ in blocks[:-1])
        sizes = [len(ids) for ids, _ in blocks]
        assert expected in (None, sizes)
        expected = sizes


def test_wrong_sources(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Corpus: there is no file .*nowhere.txt; pass a list of sentences"):
        text.Corpus("nowhere.txt")
    with pytest.raises(TypeError, match="source must be a path, paths, an iterable of sentences"):
        text.Corpus(5)
    with pytest.raises(TypeError, match="an iterator can be read only once; pass a function"):
        text.Corpus(iter(SENTENCES), streaming=True)
    with pytest.raises(TypeError, match="sentence 1 must be a str or a list of words, got int"):
        text.Corpus(["a", 5]).counts()
    with pytest.raises(TypeError, match="words must be str, got int: 3"):
        text.Corpus([["a", 3]]).counts()
    with pytest.raises(TypeError, match="tokenize must be a function"):
        text.Corpus(["a"], tokenize="x")
    damaged = tmp_path / "a.gz"
    damaged.write_bytes(gzip.compress(b"a b c\n" * 1000)[:-9])
    with pytest.raises(ValueError, match=r"a.gz: damaged gzip file"):
        text.Corpus(damaged).counts()
    latin = tmp_path / "latin.txt"
    latin.write_bytes("caf\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.txt: not utf-8 text .*encoding="):
        text.Corpus(latin).counts()
    assert text.Corpus(latin, encoding="latin-1").counts() == {"caf\xe9": 1}


# ---- vocabularies ----


def test_vocabulary(tmp_path):
    v = text.Vocabulary.build(SENTENCES, min_count=1)
    assert v.words == ["the", "sat", "cat", "dog", "down"] and v.counts.tolist() == [4, 2, 1, 1, 1]
    assert v["sat"] == 1 and "sat" in v and "cow" not in v and len(v) == 5 and v.total == 9
    assert v.encode(["down", "cow", "the"]).tolist() == [4, 0]
    assert text.Vocabulary.build(SENTENCES, 2).words == ["the", "sat"]
    assert text.Vocabulary.build(SENTENCES, 1, max_size=1).words == ["the"]
    with pytest.raises(KeyError, match="'cow' is not one of the 5 words of the vocabulary"):
        v["cow"]
    v.save(tmp_path / "v.txt")
    again = text.Vocabulary.load(tmp_path / "v.txt")
    assert again.words == v.words and again.counts.tolist() == v.counts.tolist()
    (tmp_path / "v.txt").write_text("a\t1\nb 2\n")
    with pytest.raises(ValueError, match=r"v.txt: line 2 must be a new word, a tab and its count"):
        text.Vocabulary.load(tmp_path / "v.txt")


def test_subsampling_and_noise():
    """word2vec's formula: (sqrt(f / t) + 1) t / f for a share f of the text."""
    v = text.Vocabulary({"a": 900, "b": 99, "c": 1})
    f = np.array([0.9, 0.099, 0.001])
    np.testing.assert_allclose(v.keep_probabilities(0.01), np.minimum(1, (np.sqrt(f / 0.01) + 1) * 0.01 / f))
    np.testing.assert_array_equal(v.keep_probabilities(0), 1)
    np.testing.assert_allclose(v.noise_distribution(), f**0.75 / (f**0.75).sum())
    np.testing.assert_allclose(v.noise_distribution(0), 1 / 3)


def test_subsampling_keeps_what_it_says(monkeypatch):
    corpus = text.Corpus([["a", "b"] * 500] * 200)
    m = text.SkipGram(2, 1, 1, sample=1e-3, epochs=1, negative=1)
    m.build_vocab(corpus)
    kept, ints = [], m._ints
    monkeypatch.setattr(m, "_ints", lambda n, *rest: (kept.append(n), ints(n, *rest))[1])
    m.fit(corpus)
    expected = 200_000 * m.vocabulary.keep_probabilities(1e-3)[0]
    assert abs(sum(kept) - expected) < 5 * expected**0.5


# ---- counts and PMI ----


@given(words, st.integers(1, 6), st.sampled_from(["flat", "harmonic", "linear"]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_cooccurrence_against_counting(sentences, window, weighting, symmetric):
    vocabulary = text.Vocabulary.build(sentences, 1)
    weigh = {"flat": lambda d: 1, "harmonic": lambda d: 1 / d, "linear": lambda d: (window - d + 1) / window}[weighting]
    expected = np.zeros((len(vocabulary),) * 2)
    for sentence in sentences:
        for i, a in enumerate(sentence):
            for j, b in enumerate(sentence):
                if 0 < j - i <= window:
                    expected[vocabulary[a], vocabulary[b]] += weigh(j - i)
                    if symmetric:
                        expected[vocabulary[b], vocabulary[a]] += weigh(j - i)
    if not expected.any():
        with pytest.raises(ValueError, match="holds no two of the vocabulary's"):
            text.cooccurrence(sentences, vocabulary, window, weighting, symmetric)
        return
    counts = text.cooccurrence(sentences, vocabulary, window, weighting, symmetric)
    np.testing.assert_allclose(counts.toarray(), expected, rtol=1e-12)


@pytest.mark.parametrize("smoothing", [1.0, 0.75])
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_pmi_by_its_formula(smoothing, shift, rng):
    dense = rng.integers(0, 5, (20, 20)) * 1.0
    i, j = np.nonzero(dense)
    counts = text.CSRMatrix.from_entries(i, j, dense[i, j], dense.shape)
    share = dense.sum(0) ** smoothing / (dense.sum(0) ** smoothing).sum()
    with np.errstate(divide="ignore"):
        expected = np.log(dense / dense.sum(1, keepdims=True) / share) - np.log(shift)
    full = text.pmi(counts, smoothing, shift)
    np.testing.assert_allclose(full.toarray()[i, j], expected[i, j], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(text.ppmi(counts, smoothing, shift).toarray(), np.maximum(expected, 0), atol=1e-12)


def test_pmi_of_wrong_counts():
    empty = text.CSRMatrix.from_entries([], [], np.zeros(0), (3, 3))
    with pytest.raises(ValueError, match="pmi: there are no counts"):
        text.pmi(empty)
    negative = text.CSRMatrix.from_entries([0], [1], np.array([-1.0]), (3, 3))
    with pytest.raises(ValueError, match="pmi: counts must be positive"):
        text.ppmi(negative)
    with pytest.raises(ValueError, match="pmi: shift must be positive"):
        text.pmi(empty, shift=0)
    with pytest.raises(ValueError, match="weighting must be one of flat, harmonic, linear"):
        text.cooccurrence(SENTENCES, text.Vocabulary.build(SENTENCES, 1), weighting="no")


# ---- sparse matrices ----


def random_csr(rng, rows, columns, dtype=np.float64, density=0.2):
    dense = (rng.random((rows, columns)) < density) * rng.normal(size=(rows, columns))
    i, j = np.nonzero(dense)
    return text.CSRMatrix.from_entries(i, j, dense[i, j].astype(dtype), dense.shape), dense.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 33, 110, 129])
def test_product_with_dense(n, dtype, rng, threads):
    a, dense = random_csr(rng, 70, 50, dtype)
    x = rng.normal(size=(50, n)).astype(dtype)
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append((a @ x).tobytes())
    assert len(set(found)) == 1
    np.testing.assert_allclose(a @ x, dense @ x, rtol=0, atol=50 * np.finfo(dtype).eps * 10)


def test_sparse_matrix(rng):
    a, dense = random_csr(rng, 13, 29)
    np.testing.assert_array_equal(a.toarray(), dense)
    np.testing.assert_array_equal(a.T.toarray(), dense.T)
    np.testing.assert_array_equal(a.to_scipy().toarray(), dense)
    np.testing.assert_allclose(a.sum(0), dense.sum(0))
    np.testing.assert_allclose(a.sum(1), dense.sum(1))
    twice = text.CSRMatrix.from_entries([1, 0, 1], [2, 0, 2], np.array([1.0, 5, 2]), (2, 3))
    np.testing.assert_array_equal(twice.toarray(), [[5, 0, 0], [0, 0, 3]])
    empty = text.CSRMatrix.from_entries([], [], np.zeros(0), (2, 3))
    np.testing.assert_array_equal(empty @ np.ones((3, 2)), np.zeros((2, 2)))


def test_wrong_sparse_matrices():
    with pytest.raises(ValueError, match=r"columns must be in 0..1, got 0 to 2"):
        text.CSRMatrix([0, 2], [0, 2], np.ones(2), (1, 2))
    with pytest.raises(ValueError, match="start must rise from 0 to 2"):
        text.CSRMatrix([0, 3], [0, 1], np.ones(2), (1, 2))
    with pytest.raises(ValueError, match=r"rows must be in 0..1, got 5 to 5"):
        text.CSRMatrix.from_entries([5], [0], np.ones(1), (2, 2))
    with pytest.raises(TypeError, match="values must be float32 or float64"):
        text.CSRMatrix([0, 1], [0], np.ones(1, int), (1, 2))
    with pytest.raises(ValueError, match=r"x must have shape \(2, n\), got \(3, 1\)"):
        text.CSRMatrix([0, 1], [0], np.ones(1), (1, 2)) @ np.ones((3, 1))


# ---- SVD ----


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("shape", [(60, 40), (40, 60)])
def test_randomized_svd(shape, sparse, rng):
    """Exact where the rank is small; close to the best where values fall; the same again from the same seed."""
    low = rng.normal(size=(shape[0], 5)) @ rng.normal(size=(5, shape[1]))
    i, j = np.nonzero(low)
    a = text.CSRMatrix.from_entries(i, j, low[i, j], shape) if sparse else low
    u, s, vt = text.randomized_svd(a, 5)
    np.testing.assert_allclose(u * s @ vt, low, atol=1e-9)
    np.testing.assert_allclose(s, np.linalg.svd(low, compute_uv=False)[:5])
    np.testing.assert_allclose(u.T @ u, np.eye(5), atol=1e-12)
    du, ds, dvt = text.dense_svd(a, 5)
    for mine, exact in ((u, du), (s, ds), (vt, dvt)):
        np.testing.assert_allclose(mine, exact, atol=1e-8)
    assert all(np.array_equal(p, q) for p, q in zip((u, s, vt), text.randomized_svd(a, 5), strict=True))


def test_randomized_svd_of_a_slow_spectrum(rng):
    a, dense = random_csr(rng, 300, 200)
    exact = np.linalg.svd(dense, compute_uv=False)
    u, s, vt = text.randomized_svd(a, 20, oversampling=20, iterations=10)
    np.testing.assert_allclose(s, exact[:20], rtol=1e-3)
    best = np.sqrt((exact[20:] ** 2).sum())
    assert np.linalg.norm(dense - u * s @ vt) < 1.001 * best


def test_wrong_svd(rng):
    with pytest.raises(ValueError, match="rank must be an integer from 1 to 3, got 4"):
        text.randomized_svd(np.ones((3, 5)), 4)
    with pytest.raises(ValueError, match="rank must be an integer from 1 to 3, got 0"):
        text.dense_svd(np.ones((3, 5)), 0)
    with pytest.raises(ValueError, match="a must be a CSRMatrix or a 2-D float array"):
        text.dense_svd(np.ones(3))
    with pytest.raises(ValueError, match="there are 2 words, but a has 3 rows"):
        text.svd_vectors(["a", "b"], np.eye(3), 2)
    with pytest.raises(ValueError, match="a must hold finite numbers"):
        text.randomized_svd(np.full((3, 3), np.nan), 1)
    with pytest.raises(ValueError, match="a holds nothing but zeros"):
        text.svd_vectors("abc", np.zeros((3, 3)), 2)


def test_svd_vectors_of_more_numbers_than_there_are():
    for dense in (False, True):
        with pytest.raises(ValueError, match="svd_vectors: vector_size must be an integer from 1 to 3, got 4"):
            text.svd_vectors("abc", np.eye(3), 4, dense=dense)


def test_svd_vectors():
    v = text.svd_vectors("abc", np.diag([4.0, 2.0, 1.0]), 2, eigenvalue_weight=0.5, dense=True)
    np.testing.assert_allclose(v.matrix, [[2, 0], [0, 2**0.5], [0, 0]], atol=1e-12)


# ---- neighbours ----


@pytest.fixture
def vectors():
    return text.WordVectors(
        ["king", "queen", "man", "woman", "apple"],
        np.array([[1, 1, 0.1], [1, -1, 0.1], [0.2, 1, 0], [0.2, -1, 0], [0, 0, 1]], np.float32),
    )


def test_neighbours_and_analogies(vectors):
    assert vectors.most_similar("king", topn=1)[0][0] == "man"
    for method in ("3cosadd", "3cosmul"):
        assert vectors.analogy("man", "king", "woman", method=method)[0][0] == "queen"
    found = vectors.nearest(vectors["apple"], topn=2)
    assert found[0][0] == "apple" and np.isclose(found[0][1], 1) and len(found) == 2
    assert len(vectors.most_similar("king", topn=100)) == 4
    unit = vectors.normalized()
    np.testing.assert_allclose(vectors.similarity("king", "man"), unit[0] @ unit[2], rtol=1e-6)
    assert vectors[["king", "apple"]].shape == (2, 3) and len(vectors) == 5 and vectors.vector_size == 3


def test_cosmul_by_its_formula(vectors):
    unit = vectors.normalized().astype(float)
    near = (1 + unit @ unit.T) / 2
    score = near[1] * near[2] / (near[3] + 1e-3)  # queen + man - woman
    found = dict(vectors.most_similar(["queen", "man"], ["woman"], method="3cosmul"))
    assert set(found) == {"king", "apple"}
    np.testing.assert_allclose([found["king"], found["apple"]], [score[0], score[4]], rtol=1e-5)


@pytest.mark.parametrize("dtype, scale", [("float16", 1e-3), ("float16", 1e3), ("float32", 1e-25), ("float32", 1e25)])
def test_cosines_of_tiny_and_huge_vectors(vectors, dtype, scale):
    """Their squares are 0 or infinite in their own type."""
    other = text.WordVectors(vectors.words, (vectors.matrix * scale).astype(dtype))
    np.testing.assert_allclose(other.normalized(), vectors.normalized(), atol=2e-3)
    expected = dict(vectors.most_similar("king"))
    for found in (other.most_similar("king"), other.nearest(other["king"], exclude=["king"])):
        assert {word: pytest.approx(score, abs=5e-3) for word, score in found} == expected


def test_wrong_questions(vectors):
    with pytest.raises(KeyError, match="'cow' is not one of the 5 words that have vectors"):
        vectors["cow"]
    with pytest.raises(KeyError, match="'cow'"):
        vectors.most_similar("cow")
    with pytest.raises(TypeError, match="a word must be a str, got int"):
        vectors[3]
    with pytest.raises(ValueError, match="at least one positive or negative word"):
        vectors.most_similar()
    with pytest.raises(ValueError, match="method must be '3cosadd' or '3cosmul', got 'x'"):
        vectors.most_similar("king", method="x")
    with pytest.raises(ValueError, match=r"vector must have shape \(3,\), got \(2,\)"):
        vectors.nearest([1, 2])
    with pytest.raises(ValueError, match="positive finite length"):
        vectors.nearest([0, 0, 0])
    with pytest.raises(ValueError, match="topn must be an integer of at least 1"):
        vectors.most_similar("king", topn=0)
    with pytest.raises(ValueError, match="there are 1 words, but matrix has 2 rows"):
        text.WordVectors(["a"], np.ones((2, 3)))
    with pytest.raises(ValueError, match="'a' occurs twice"):
        text.WordVectors(["a", "a"], np.ones((2, 3)))
    with pytest.raises(ValueError, match="matrix must be a float array"):
        text.WordVectors(["a"], np.ones((1, 3), int))


# ---- evaluation ----


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
@settings(max_examples=100, deadline=None)
def test_spearman_against_scipy(pairs):
    from scipy.stats import spearmanr

    x, y = np.array(pairs).T
    if len(set(x)) > 1 and len(set(y)) > 1:
        np.testing.assert_allclose(text.spearman(x, y), spearmanr(x, y)[0], atol=1e-12)
    else:
        with pytest.raises(ValueError, match="values that are not all the same"):
            text.spearman(x, y)


def test_evaluation(vectors, tmp_path):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("# note\nKing\tman\t9\nking\tapple\t1\nqueen\twoman\t8\ncow\tman\t3\n")
    result = text.evaluate_similarity(vectors, pairs)
    assert result["pairs"] == 3 and result["unknown"] == 1 and result["spearman"] > 0.4
    questions = tmp_path / "questions.txt"
    questions.write_text(": family\nman king woman queen\nwoman queen man king\n: other\nman cow woman king\n")
    for method in ("3cosadd", "3cosmul"):
        result = text.evaluate_analogies(vectors, questions, method)
        assert result["accuracy"] == 1 and result["questions"] == 2 and result["unknown"] == 1
        assert result["sections"] == {"family": (2, 2)}
    for content, message in (
        ("a\tb\t1\nking\tman\n", "line 2 must be two words and a number"),
        ("", "holds no word pairs"),
    ):
        pairs.write_text(content)
        with pytest.raises(ValueError, match=message):
            text.read_word_pairs(pairs)
    questions.write_text("a b c\n")
    with pytest.raises(ValueError, match=r"line 1 must be four words or ': section'"):
        text.read_analogies(questions)
    with pytest.raises(ValueError, match="0 of 1 pairs have vectors"):
        text.evaluate_similarity(vectors, [("x", "y", 1.0)])
    with pytest.raises(ValueError, match=r"a list of \(word, word, similarity\), got \('king', 1.0\)"):
        text.evaluate_similarity(vectors, [("king", 1.0)])
    with pytest.raises(ValueError, match="none of 1 questions has four words with vectors"):
        text.evaluate_analogies(vectors, [("", "king", "queen", "x", "y")])
    with pytest.raises(ValueError, match="restrict must be an integer of at least 1"):
        text.evaluate_analogies(vectors, [("", "king", "queen", "man", "woman")], restrict=0)
    with pytest.raises(TypeError, match="vectors must be WordVectors, got dict"):
        text.evaluate_similarity({}, [("king", "queen", 1.0)])


@pytest.mark.data
def test_evaluation_files():
    assert len(text.read_word_pairs(DATA / "wordsim" / "wordsim353.tsv")) == 353
    assert len(text.read_analogies(DATA / "wordsim" / "questions-words.txt")) == 19544


# ---- files ----


def test_bytes_of_word2vec_files(tmp_path):
    v = text.WordVectors(["a", "caf\xe9"], np.array([[1, -0.5], [3e-8, 0.1]], np.float32))
    v.save(tmp_path / "v.txt")
    assert (tmp_path / "v.txt").read_bytes() == "2 2\na 1.0 -0.5\ncaf\xe9 3e-08 0.1\n".encode()
    v.save(tmp_path / "v.bin", binary=True)
    rows = [row.tobytes() for row in v.matrix]
    assert (tmp_path / "v.bin").read_bytes() == b"2 2\na " + rows[0] + b"\ncaf\xc3\xa9 " + rows[1] + b"\n"
    # as the original tool writes it: without a line's end after each vector
    (tmp_path / "other.bin").write_bytes(b"2 2\na " + rows[0] + b"caf\xc3\xa9 " + rows[1])
    for name in ("v.txt", "v.bin", "other.bin"):
        again = text.WordVectors.load(tmp_path / name)
        assert again.words == v.words and again.matrix.tobytes() == v.matrix.tobytes()


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=50, deadline=None)
def test_files_come_back_bit_by_bit(tmp_path_factory, count, size, seed, binary):
    bits = np.random.default_rng(seed).integers(0, 2**32, (count, size), np.uint32).view(np.float32)
    matrix = np.where(np.isfinite(bits), bits, np.float32(0.1))
    path = tmp_path_factory.mktemp("vectors") / "v"
    text.WordVectors([f"w{k}" for k in range(count)], matrix).save(path, binary)
    for how in (binary, None):
        again = text.WordVectors.load(path, how)
        assert again.matrix.tobytes() == matrix.tobytes()


def test_files_for_gensim(tmp_path):
    """gensim reads what is written, and what it writes is read."""
    gensim = pytest.importorskip("gensim")
    m = text.SkipGram(10, min_count=1, epochs=1).fit(SENTENCES)
    for binary in (False, True):
        m.vectors.save(tmp_path / "v", binary)
        theirs = gensim.models.KeyedVectors.load_word2vec_format(tmp_path / "v", binary=binary)
        assert theirs.index_to_key == m.vectors.words
        np.testing.assert_array_equal(theirs.vectors, m.vectors.matrix)
        theirs.save_word2vec_format(tmp_path / "w", binary=binary)
        np.testing.assert_array_equal(text.WordVectors.load(tmp_path / "w").matrix, m.vectors.matrix)


def test_damaged_files(tmp_path):
    path = tmp_path / "v"
    row = np.array([1, 2], "<f4").tobytes()
    for content, message in (
        (b"", "not a word2vec file: its first line must be two numbers"),
        (b"\x80\x81\x00", "not a word2vec file"),
        (b"0 5\n", "speaks of 0 words and 5 dimensions"),
        (b"999999999999 100\na 1 2\n", "999999999999 words of 100 dimensions were announced"),
        (b"2 2\na 1 2\n", "damaged"),
        (b"2 2\na 1 2\nb 1\n     ", "damaged"),
        (b"2 2\na 1 2\nb 1 x\n", "line 3 holds what is no number"),
        (b"1 4\na 1.25 2.25 3.25 4.2x\n", "line 2 holds what is no number"),
        (b"2 2\na 1 2\nb 1 nan\n", "the vector of 'b' is not finite"),
        (b"2 2\na 1 2\na 1 2\n", "a word occurs twice"),
        (b"1 2\na 1 2\nb 1 2\n", "1 words were announced, 2 lines follow"),
        (b"2 2\na " + row + b"\nb " + row[:-1], "damaged"),
        (b"2 2\na " + row + b"\nb " + row + b"\nmore", "5 bytes follow the last of 2 words"),
        (b"1 2\n\xff\xfe " + row, "a word is not UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            text.WordVectors.load(path)
    with pytest.raises(FileNotFoundError):
        text.WordVectors.load(tmp_path / "nothing")


@given(st.binary(max_size=40), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_no_damage_goes_unseen_or_crashes(tmp_path_factory, noise, cut):
    v = text.WordVectors(["a", "bc"], np.array([[1, 2], [3, 4]], np.float32))
    path = tmp_path_factory.mktemp("damage") / "v"
    v.save(path, binary=True)
    path.write_bytes(path.read_bytes()[:cut] + noise)
    try:
        found = text.WordVectors.load(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert found.matrix.size and np.isfinite(found.matrix).all()


def test_nothing_is_lost_when_saving_fails(vectors, tmp_path):
    path = tmp_path / "v"
    vectors.save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="a word with white space cannot be written: 'a b'"):
        text.WordVectors(["a b"], np.ones((1, 2))).save(path)
    with pytest.raises(ValueError, match="not all finite"):
        text.WordVectors(["a"], np.array([[np.nan]])).save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["v"]
