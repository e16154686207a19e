"""
Draw a map of images
====================

A code of two numbers places every image on a plane. This example draws the map of digits by PCA
and by an autoencoder, and beside each map the images that it has at each place.
"""

# %%
# Both are fitted to the same images. To compare the maps by a number, digits are classified by
# their five nearest neighbours on the map.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skae import Autoencoder
from skae.displays import LatentDisplay
from skae.metrics import explained_variance

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=500, random_state=0)

maps = {"PCA": PCA(2, random_state=0), "Autoencoder": Autoencoder(2, random_state=0)}
for name, model in maps.items():
    codes = model.fit_transform(X_train)
    neighbors = KNeighborsClassifier().fit(codes, y_train)
    accuracy = neighbors.score(model.transform(X_test), y_test)
    variance = explained_variance(model, X_test)
    print(f"{name:12} explained variance {variance:.2f}, accuracy of neighbours {accuracy:.2f}")

# %%
# Left: test images, as points with the colour of their class. Right: what ``inverse_transform``
# makes of points on a grid.

figure, axes = plt.subplots(2, figsize=(9, 9), layout="constrained")
for ax, (name, model) in zip(axes, maps.items(), strict=True):
    display = LatentDisplay.from_estimator(
        model, X_test, y_test, grid=12, image_shape=(8, 8), ax=ax
    )
    display.scatters_[0].axes.set_title(name)
plt.show()

# %%
# PCA's plane is flat: the images change at the same rate everywhere, and most classes overlap.
# The autoencoder bends the plane, so that one component has another meaning in each region, and
# tells more digits apart. Distances on such a map should not be compared between regions.
#
# Both maps place new images and decode any point. t-SNE and UMAP often separate classes more
# clearly, but t-SNE has no place for new images, and neither is trained to decode.
