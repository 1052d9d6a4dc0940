"""Word2Vec: C against its NumPy twin, the loss's gradient, threads, sampling tables, learning, wrong input."""

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import words as twin

from fastnn import text
from fastnn.text.word2vec import alias_table, huffman_paths


def sentences(count=60, words=30, length=12, seed=0):
    """Sentences of words from a Zipf-like distribution, some of them of no or one word."""
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, words + 1)
    return [[f"w{k}" for k in rng.choice(words, rng.integers(0, length), p=p / p.sum())] for _ in range(count)]


KINDS = {
    "skip-gram": {"sg": True},
    "skip-gram, 3 negatives": {"sg": True, "negative": 3},
    "skip-gram, 9 negatives": {"sg": True, "negative": 9},
    "skip-gram, tree": {"sg": True, "hs": True},
    "CBOW": {},
    "CBOW, sum": {"cbow_mean": False},
    "CBOW, exact": {"exact_gradient": True},
    "CBOW, exact sum": {"cbow_mean": False, "exact_gradient": True},
    "CBOW, tree": {"hs": True},
    "full windows": {"sg": True, "shrink_windows": False},
}


def model(kind="skip-gram", **options):
    return text.Word2Vec(**{"min_count": 1, "sample": 0, "epochs": 1, "window": 3, "alpha": 0.1, "vector_size": 20,
                            **KINDS[kind], **options})  # fmt: skip


def by_twin(m, corpus, batch):
    """(vectors, outputs, mean loss) of one epoch of the model m, as it begins."""
    m.build_vocab(corpus)
    vectors, outputs = m._in.astype(np.float64), m._out.astype(np.float64)
    mode = (0 if m.sg else twin.CBOW) | (m.cbow_mean and twin.MEAN) | (m.exact_gradient and twin.EXACT)
    mode |= 0 if m.shrink_windows else twin.FULL_WINDOW
    losses = predictions = 0
    (ids, sentence), *more = corpus.blocks(m.vocabulary)
    assert not more
    tree = (m._path, m._node, m._code) if m.hs else None
    loss, made = twin.train_block(
        vectors, outputs, ids, sentence, batch, m.alpha, (m.min_alpha - m.alpha) / len(ids), mode, seed=m.seed, block=0,
        stream=2, window=m.window, negative=m.negative, noise=m._noise, tree=tree,
    )  # fmt: skip
    losses, predictions = loss.sum(), made.sum()
    return vectors, outputs, losses / predictions


@pytest.mark.parametrize("size", [1, 17, 100])
@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_float64_against_the_twin(kind, batch, size):
    corpus = text.Corpus(sentences())
    m = model(
        kind, batch_size=batch, vector_size=size, dtype="float64", seed=2**40 + 5, alpha=0.01 if batch == 1000 else 0.1
    )
    vectors, outputs, loss = by_twin(m, corpus, batch)
    m.fit(corpus)
    np.testing.assert_allclose(m._in, vectors, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(m._out, outputs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(m.history["loss"], loss, rtol=1e-12)
    assert np.abs(m.output_vectors).max() > 1e-5  # something was learnt


@pytest.mark.parametrize("kind", KINDS)
def test_float32_against_the_twin(kind):
    corpus = text.Corpus(sentences())
    m = model(kind, batch_size=5, vector_size=50)
    vectors, outputs, loss = by_twin(m, corpus, 5)
    m.fit(corpus)
    np.testing.assert_allclose(m._in, vectors, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(m._out, outputs, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(m.history["loss"], loss, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_lock_free_with_one_worker_is_batches_of_one(kind):
    corpus = text.Corpus(sentences())
    a = model(kind, batch_size=1, vector_size=30).fit(corpus)
    b = model(kind, deterministic=False, workers=1, vector_size=30).fit(corpus)
    np.testing.assert_allclose(a._in, b._in, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(a.history["loss"], b.history["loss"], rtol=1e-6)


@pytest.mark.parametrize("kind", ["skip-gram", "skip-gram, tree", "CBOW", "CBOW, tree"])
def test_same_bits_for_any_number_of_threads(kind):
    """Batches large enough for the pool to take several threads; 2, 4 and 8 parts of columns."""
    corpus = text.Corpus(sentences(400, 200, 30))
    for size in (100, 200, 600):
        found = []
        for workers in (1, 2, 3, 5):
            m = model(kind, workers=workers, vector_size=size, batch_size=64, sample=1e-2, epochs=2, alpha=0.05).fit(
                corpus
            )
            found.append((m._in.tobytes(), m._out.tobytes(), m.history["loss"]))
        assert all(each == found[0] for each in found[1:])


def test_loss_does_not_depend_on_workers():
    corpus = text.Corpus(sentences(2000, 100, 20))
    one, two = (model(deterministic=False, workers=n, epochs=3, alpha=0.025).fit(corpus) for n in (1, 2))
    np.testing.assert_allclose(one.history["loss"], two.history["loss"], rtol=0.02)
    fixed = model(epochs=3, alpha=0.025).fit(corpus)
    np.testing.assert_allclose(one.history["loss"], fixed.history["loss"], rtol=0.02)


@pytest.mark.parametrize("kind", ["skip-gram", "skip-gram, tree", "CBOW, exact", "CBOW, exact sum", "CBOW, tree"])
def test_update_is_the_gradient_of_the_loss(kind):
    """One batch of everything with a tiny learning rate: the step is minus alpha times the derivative of the loss."""
    corpus, alpha = text.Corpus(sentences(6, 8, 6)), 1e-7
    options = {"exact_gradient": True} if not KINDS[kind].get("sg") else {}
    m = model(kind, batch_size=1000, vector_size=4, dtype="float64", alpha=alpha, min_alpha=alpha, **options)
    m.build_vocab(corpus)
    rng = np.random.default_rng(1)
    m._in[:, :4], m._out[:, :4] = rng.normal(size=(len(m._in), 4)), rng.normal(size=(len(m._out), 4))
    before = m._in.copy(), m._out.copy()
    ((ids, sentence),) = corpus.blocks(m.vocabulary)
    mode = (0 if m.sg else twin.CBOW) | (m.cbow_mean and twin.MEAN)
    draws = [
        twin.Draw(at, ids, sentence, m.seed, 0, 2, m.window, m.negative, mode, m._noise,
                  (m._path, m._node, m._code) if m.hs else None)
        for at in range(len(ids))
    ]  # fmt: skip

    def loss(vectors, outputs):
        total = 0.0
        for draw in draws:
            for j, (out, labels) in enumerate(draw.predictions):
                h = twin.prediction(mode, vectors, draw.context, j)
                total += twin.loss_and_gradient(outputs[out] @ h, labels)[0]
        return total

    m.fit(corpus)
    for which, after in enumerate((m._in, m._out)):
        for row in range(min(len(after), 5)):
            for column in range(4):
                values = []
                for step in (1e-6, -1e-6):
                    moved = [x.copy() for x in before]
                    moved[which][row, column] += step
                    values.append(loss(*moved))
                derivative = (values[0] - values[1]) / 2e-6
                step = (after[row, column] - before[which][row, column]) / alpha
                assert abs(step + derivative) < 1e-4 * (1 + abs(derivative))


def test_several_fits_differ_in_their_draws_and_streaming_changes_nothing(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(s) for s in sentences(5000, 50, 40)))  # more than one block
    kept = model(epochs=2, sample=1e-2, alpha=0.025).fit(path)
    streamed = model(epochs=2, sample=1e-2, alpha=0.025).fit(text.Corpus(path, streaming=True))
    assert kept._in.tobytes() == streamed._in.tobytes() and kept.history["loss"] == streamed.history["loss"]
    listed = model(epochs=2, sample=1e-2, alpha=0.025).fit(iter(sentences(5000, 50, 40)))
    assert kept._in.tobytes() == listed._in.tobytes()
    other = model(epochs=2, sample=1e-2, alpha=0.025, seed=2).fit(path)
    assert not np.array_equal(kept._in, other._in)


def test_learns_what_belongs_together():
    """Two topics that never meet: neighbours are of one's own topic, and the loss falls."""
    rng = np.random.default_rng(3)
    topics = [[f"{name}{k}" for k in range(10)] for name in "ab"]
    corpus = text.Corpus([list(rng.choice(topics[k % 2], 8)) for k in range(1500)])
    for kind in ("skip-gram", "skip-gram, tree", "CBOW", "CBOW, tree"):
        m = model(kind, epochs=8, alpha=0.05).fit(corpus)
        assert m.history["loss"][-1] < m.history["loss"][0]
        for word in ("a0", "b0"):
            assert all(near[0] == word[0] for near, _ in m.vectors.most_similar(word, topn=5))


def test_text_words_a_second_and_callback():
    seen = []
    m = model(epochs=3).fit(sentences(), callback=lambda epoch, loss: seen.append((epoch, loss)))
    assert seen == list(enumerate(m.history["loss"]))
    assert all(rate > 0 for rate in m.history["words_per_second"])


# ---- tables ----


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_alias_table_has_the_distribution(counts):
    p = np.array(counts) / np.sum(counts)
    table = alias_table(p)
    n = len(p)
    found = table[:, 0] / 2.0**32
    share = found / n
    np.add.at(share, table[:, 1], (1 - found) / n)
    np.testing.assert_allclose(share, p, atol=1e-8)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=50))
@settings(max_examples=60, deadline=None)
def test_huffman_tree_is_a_prefix_code_of_least_length(counts):
    start, nodes, labels = huffman_paths(np.array(counts))
    paths = [tuple(zip(nodes[a:b], labels[a:b], strict=True)) for a, b in itertools.pairwise(start)]
    assert all(path[0][0] == len(counts) - 2 for path in paths)  # the root
    assert np.isclose(sum(2.0 ** -len(path) for path in paths), 1)  # a full tree
    assert len({tuple(bit for _, bit in path) for path in paths}) == len(paths)
    heap, cost = list(counts), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        cost += both
        heapq.heappush(heap, both)
    assert sum(c * len(path) for c, path in zip(counts, paths, strict=True)) == cost


def test_hierarchical_softmax_is_a_distribution():
    """The probabilities that the tree gives all words sum to 1."""
    m = model("skip-gram, tree").fit(sentences())
    h, total = m.vectors.matrix[3].astype(float), 0.0
    for a, b in itertools.pairwise(m._path):
        x, label = m._out[m._node[a:b], : m.vector_size] @ h, m._code[a:b]
        total += np.prod(1 / (1 + np.exp(np.where(label, -x, x))))
    assert np.isclose(total, 1)


def test_one_word_vocabulary():
    for kind in ("skip-gram", "CBOW", "skip-gram, tree", "CBOW, tree"):
        m = model(kind).fit([["a", "a", "a"]])
        assert np.isfinite(m.vectors.matrix).all() and len(m.vectors) == 1


# ---- wrong input ----


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"vector_size": 0}, ValueError, "Word2Vec: vector_size must be an integer from 1 to"),
        (
            {"window": 2.5},
            TypeError,
            "Word2Vec: window must be an integer from 1 to 1000",
        ),
        ({"negative": 0}, ValueError, "negative must be an integer from 1 to 255, got 0"),
        ({"negative": 256}, ValueError, "negative must be an integer from 1 to 255, got 256"),
        ({"hs": True, "negative": 5}, ValueError, r"hierarchical softmax \(hs=True\) takes no negative samples"),
        ({"sample": -1}, ValueError, "sample must be a number within"),
        ({"alpha": float("nan")}, ValueError, "alpha must be a number within"),
        ({"workers": 0}, ValueError, "workers must be an integer from 1"),
        ({"seed": -1}, ValueError, "seed must be an integer from 0"),
        ({"dtype": "int32"}, ValueError, "dtype must be 'float32' or 'float64'"),
        ({"min_count": 0}, ValueError, "min_count must be an integer of at least 1, got 0"),
        ({"epochs": True}, TypeError, "epochs must be an integer"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        text.Word2Vec(**options)


def test_wrong_corpora():
    with pytest.raises(ValueError, match="Corpus: the source holds no words"):
        model().fit([])
    with pytest.raises(ValueError, match="Corpus: the source holds no words"):
        model().fit(["", "   "])
    with pytest.raises(
        ValueError, match=r"none of the 2 words occurs min_count=5 times; the most frequent one occurs 2"
    ):
        model(min_count=5).fit(["a a b"])
    m = model().fit(sentences())
    before = m._in.tobytes()
    with pytest.raises(ValueError, match=r"Word2Vec.fit: the corpus holds none of the vocabulary's 30 words"):
        m.fit(["other words only"])
    assert m._in.tobytes() == before


def test_too_large_a_learning_rate_is_told():
    with pytest.raises(FloatingPointError, match=r"the loss is .*pass a smaller alpha"):
        model("CBOW, sum", alpha=1e30, epochs=3).fit(sentences(300))
