"""Word vectors three ways, skip-gram, CBOW, and PPMI with SVD, on a corpus of books: what is near what, how well each
agrees with people's judgments of similarity (WordSim-353), and a map of some words.

    python examples/word_vectors.py                        # text/classics.txt.gz below FASTNN_DATA: minutes
    python examples/word_vectors.py --text my.txt.gz       # a sentence or paragraph a line
    python examples/word_vectors.py --quick                # a page of Alice in Wonderland: seconds, no files

Draws word_vectors.png (with matplotlib): the words of a few themes on the first two principal components of their
skip-gram vectors. WordSim-353: Finkelstein et al. 2002; the quick text: Lewis Carroll, 1865. On the classics, seed 1,
Spearman's correlation is 0.37 for skip-gram, 0.27 for CBOW, 0.44 for PPMI with SVD; docs/text.md has more seeds.
"""

import argparse
import os
import time

import numpy as np
from _common import picture_file, stop

from fastnn import text

ALICE = """
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice
she had peeped into the book her sister was reading, but it had no pictures or conversations in it, and what is the
use of a book, thought Alice, without pictures or conversations?

So she was considering in her own mind, as well as she could, for the hot day made her feel very sleepy and stupid,
whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the daisies, when
suddenly a White Rabbit with pink eyes ran close by her.

There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the Rabbit
say to itself, Oh dear! Oh dear! I shall be late! when she thought it over afterwards, it occurred to her that she
ought to have wondered at this, but at the time it all seemed quite natural; but when the Rabbit actually took a watch
out of its waistcoat-pocket, and looked at it, and then hurried on, Alice started to her feet, for it flashed across
her mind that she had never before seen a rabbit with either a waistcoat-pocket, or a watch to take out of it, and
burning with curiosity, she ran across the field after it, and fortunately was just in time to see it pop down a large
rabbit-hole under the hedge.

In another moment down went Alice after it, never once considering how in the world she was to get out again.

The rabbit-hole went straight on like a tunnel for some way, and then dipped suddenly down, so suddenly that Alice had
not a moment to think about stopping herself before she found herself falling down a very deep well.

Either the well was very deep, or she fell very slowly, for she had plenty of time as she went down to look about her
and to wonder what was going to happen next. First, she tried to look down and make out what she was coming to, but it
was too dark to see anything; then she looked at the sides of the well, and noticed that they were filled with
cupboards and book-shelves; here and there she saw maps and pictures hung upon pegs.
"""

THEMES = {
    "family": "father mother brother sister son daughter husband wife uncle aunt",
    "body": "hand arm head face eyes heart hair foot finger shoulder",
    "sea": "sea ship boat sail wind wave island shore captain sailor",
    "house": "house room door window wall table chair bed kitchen roof",
    "money": "money gold silver price pay buy sell rich poor debt",
    "numbers": "two three four five six seven eight nine ten twenty",
}


def words_of(line):
    """Runs of letters, in lower case."""
    return "".join(c if c.isalpha() else " " for c in line.lower()).split()


def train(corpus, quick, options):
    """{method: WordVectors}, printing what each took."""
    size, epochs = (20, 150) if quick else (options.size, options.epochs)
    found = {}
    common = {"min_count": 1 if quick else 5, "seed": options.seed, "deterministic": not options.lock_free}
    for name, model in (("skip-gram", text.SkipGram), ("CBOW", text.CBOW)):
        start = time.perf_counter()
        model = model(size, 5, epochs=epochs, **common).fit(corpus)
        found[name] = model.vectors
        loss, rate = model.history["loss"], max(model.history["words_per_second"])
        print(
            f"{name}: {len(model.vocabulary)} words, loss {loss[0]:.3f} to {loss[-1]:.3f}, {rate:,.0f} words a second, "
            f"{time.perf_counter() - start:.1f} s"
        )
    start = time.perf_counter()
    vocabulary = text.Vocabulary.build(corpus, common["min_count"])
    matrix = text.ppmi(text.cooccurrence(corpus, vocabulary, 5, "linear"))
    found["PPMI + SVD"] = text.svd_vectors(vocabulary.words, matrix, size, seed=options.seed)
    print(f"PPMI + SVD: {matrix.nnz:,} entries, {time.perf_counter() - start:.1f} s")
    return found


def picture(vectors, themes, path):
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("no picture: pip install 'fastnn-cpu[plot]'")
        return
    themes = {name: [word for word in words if word in vectors] for name, words in themes.items()}
    shown = [word for words in themes.values() for word in words]
    unit = vectors.normalized()[[vectors.index[word] for word in shown]]
    centred = unit - unit.mean(axis=0)
    places = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    figure, axes = plt.subplots(figsize=(10, 8))
    at = 0
    for name, words in themes.items():
        x, y = places[at : at + len(words)].T
        axes.scatter(x, y, s=12, label=name)
        for word, *xy in zip(words, x, y, strict=True):
            axes.annotate(word, xy, fontsize=8, xytext=(3, 2), textcoords="offset points")
        at += len(words)
    axes.set(title="skip-gram vectors, first two principal components", xticks=[], yticks=[])
    if len(themes) > 1:
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"picture: {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", help="a text file, gzipped or not; default: text/classics.txt.gz below FASTNN_DATA")
    parser.add_argument("--pairs", help="similarities; default: wordsim/wordsim353.tsv below FASTNN_DATA")
    parser.add_argument("--size", type=int, default=100, help="numbers in a vector")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lock-free", action="store_true", help="faster, but not the same every time")
    parser.add_argument("--quick", action="store_true", help="a page of Alice in Wonderland")
    parser.add_argument("--output", type=picture_file, default="word_vectors.png")
    options = parser.parse_args()

    data = os.environ.get("FASTNN_DATA", "")
    path = options.text or os.path.join(data, "text", "classics.txt.gz")
    if options.quick:
        corpus = text.Corpus(ALICE.split("\n\n"), tokenize=words_of)
    elif os.path.isfile(path):
        corpus = text.Corpus(path, tokenize=words_of if options.text else None)
    elif options.text:
        stop(f"there is no file {path}")
    else:
        stop("no text: pass --text FILE, set FASTNN_DATA to a folder with text/classics.txt.gz, or use --quick")
    pairs = options.pairs or os.path.join(data, "wordsim", "wordsim353.tsv")
    if options.pairs and not os.path.isfile(pairs):
        stop(f"there is no file {pairs}")
    found = train(corpus, options.quick, options)

    if options.quick and not options.pairs:
        print("no comparison with WordSim-353: a page has too few of its words")
    elif os.path.isfile(pairs):
        for name, vectors in found.items():
            try:
                result = text.evaluate_similarity(vectors, pairs)
            except ValueError as error:
                print(f"no comparison with WordSim-353: {error}")  # the words are the same for all
                break
            print(f"{name}: Spearman {result['spearman']:.3f} on {result['pairs']} pairs of WordSim-353")
    queries = ["alice", "rabbit"] if options.quick else ["king", "sea", "money", "monday"]
    for name, vectors in found.items():
        for word in queries:
            if word in vectors:
                print(f"{name}: {word}: " + ", ".join(near for near, _ in vectors.most_similar(word, topn=6)))
    themes = {name: words.split() for name, words in THEMES.items()}
    if options.quick:
        themes = {"Alice": found["skip-gram"].words[:40]}
    picture(found["skip-gram"], themes, options.output)


if __name__ == "__main__":
    main()
