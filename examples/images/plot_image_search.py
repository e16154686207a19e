"""
Find similar images by a few bits
=================================

How well do 32 bits for each image find similar ones, and what does sorting the best candidates
again by their pixels add? `skae.AutoencoderSearch` stores a code for each image and compares codes
by the number of bits that differ (semantic hashing).
"""

# %%
# The stored images, and queries that are not among them. An autoencoder learns the codes without
# labels; these tell afterwards whether what was found is the same digit.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from skae import AutoencoderSearch
from skae.displays import RetrievalDisplay

X, y = load_digits(return_X_y=True)
X = X / 16
stored, queries, y_stored, y_queries = X[:1300], X[1300:], y[:1300], y[1300:]

search = AutoencoderSearch(n_bits=32, random_state=0).fit(stored)
print(f"{stored.nbytes / 1e3:.0f} kB of images, {search.codes_.nbytes / 1e3:.1f} kB of codes")

# %%
# Queries at the left, and the images whose codes differ from theirs in the fewest bits.

labels = {"y": y_queries, "y_stored": y_stored}
RetrievalDisplay.from_estimator(search, queries, X_stored=stored, image_shape=(8, 8), **labels)
plt.show()

# %%
# Codes hold what an image has in common with its neighborhood: most images that they find show
# the digit of the query, although many are not the very nearest by their pixels. More bits
# find more of these. With ``rerank=100``, the 100 images with the nearest codes are sorted by their
# pixels, which takes little time and finds nearly all of them.

k = 10
exact = NearestNeighbors(n_neighbors=k).fit(stored).kneighbors(queries, return_distance=False)


def recall(search):
    """Return the fraction of the nearest images by pixels that a search finds."""
    found = search.kneighbors(queries, k, return_distance=False)
    return np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(found, exact, strict=True)])


sizes = (8, 16, 32, 64)
by_code, reranked = [], []
for n_bits in sizes:
    search = AutoencoderSearch(n_bits=n_bits, rerank=100, random_state=0).fit(stored)
    reranked.append(recall(search))
    by_code.append(recall(search.set_params(rerank=None)))
    found = search.kneighbors(queries, k, return_distance=False)
    same = (y_stored[found] == y_queries[:, None]).mean()
    print(
        f"{n_bits:2} bits: {same:.2f} show the digit of the query; recall {by_code[-1]:.2f}, ",
        end="",
    )
    print(f"with re-ranking {reranked[-1]:.2f}")

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(sizes, by_code, "o-", label="by code")
ax.plot(sizes, reranked, "o-", label="100 candidates, sorted by pixels")
ax.set(xlabel="bits for each image", ylabel=f"recall of the {k} nearest", ylim=(0, 1), xticks=sizes)
ax.legend()
plt.show()

# %%
# Queries with missing pixels find similar images as well: the encoder was trained with hidden
# pixels. They are yellow here.

incomplete = queries.copy()
incomplete[:, 24:40] = np.nan  # two rows in the middle of each image
RetrievalDisplay.from_estimator(
    search, incomplete, X_stored=stored, image_shape=(8, 8), n_samples=3, **labels
)
plt.show()
