"""
Learn a sparse dictionary of image patches
==========================================

A sparse code describes each patch of a photograph by a few of many patterns.
``KSparseAutoencoder`` learns the patterns, and fixes how many are used.
"""

# %%
# The patterns are learned from patches of one photograph, and tested on patches of another one.

import matplotlib.pyplot as plt
from sklearn.datasets import load_sample_images
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.feature_extraction.image import extract_patches_2d

from skae import KSparseAutoencoder
from skae.displays import ActivationDisplay
from skae.metrics import explained_variance


def patches_of(image, n_patches):
    """Return patches of 8 x 8 pixels without their means, (n_patches, 64)."""
    gray = image.mean(axis=2) / 255
    patches = extract_patches_2d(gray, (8, 8), max_patches=n_patches, random_state=0)
    rows = patches.reshape(n_patches, -1)
    return rows - rows.mean(axis=1, keepdims=True)


china, flower = load_sample_images().images
X_train, X_test = patches_of(china, 8000), patches_of(flower, 2000)

# %%
# The code has 64 units, of which three are not 0. The alternatives are PCA, with three components
# or with more, and scikit-learn's dictionary learning, which searches for the best three patterns
# of each patch.

sparse = KSparseAutoencoder(64, n_nonzero_coefs=3, max_iter=60, random_state=0).fit(X_train)
dictionary = MiniBatchDictionaryLearning(
    64, transform_algorithm="omp", transform_n_nonzero_coefs=3, max_iter=20, random_state=0
).fit(X_train)
models = {"KSparseAutoencoder, 3 of 64": sparse, "dictionary learning, 3 of 64": dictionary}
models |= {f"PCA, {k} components": PCA(k, random_state=0).fit(X_train) for k in (3, 5, 8)}
for name, model in models.items():
    print(f"{name:28} explained variance {explained_variance(model, X_test):.3f}")

# %%
# Left: how often each unit is active in test patches. Right: the patterns of the units, most
# active first, which are edges, bars and gratings of several places, directions and widths.

ActivationDisplay.from_estimator(sparse, X_test, image_shape=(8, 8), n_atoms=64)
plt.show()

# %%
# Three patterns out of 64 explain about as much as eight principal components, which are the same
# for every patch. The dictionary of scikit-learn explains slightly more, with a search for each
# patch; the encoder of ``KSparseAutoencoder`` finds its patterns in one pass. Two units are
# active in more than half of the patches: they are gradients of brightness, which most patches
# have.
