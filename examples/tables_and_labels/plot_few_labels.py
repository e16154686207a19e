"""
Classify with few labels
========================

Images are cheap, labels are not. `skae.AutoencoderClassifier` learns codes from all images, and
classes from the few that are labelled. How does it compare with what scikit-learn has for this job?
"""

# %%
# Of 1,347 training images of digits, 20 to 200 have a label, the same number of each class. The
# label -1 stands for none. ``LogisticRegression`` uses labelled images only. ``LabelSpreading``
# passes labels on to near images, labelled or not.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading

from skae import AutoencoderClassifier, DenoisingAutoencoder

X, y = load_digits(return_X_y=True)
X = X / X.max()
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)

numbers = [20, 50, 200]
names = ["LogisticRegression", "LabelSpreading", "AutoencoderClassifier"]
accuracy = np.empty((2, len(numbers), len(names)))  # for two choices of the labelled images
for seed in range(2):
    for i, n_labels in enumerate(numbers):
        labelled, _ = train_test_split(
            np.arange(len(y_train)), train_size=n_labels, stratify=y_train, random_state=seed
        )
        y_few = np.full(len(y_train), -1)
        y_few[labelled] = y_train[labelled]

        linear = LogisticRegression(max_iter=1000).fit(X_train[labelled], y_few[labelled])
        spreading = LabelSpreading(gamma=5).fit(X_train, y_few)
        autoencoder = DenoisingAutoencoder(max_iter=20, early_stopping=False)  # a short training
        network = AutoencoderClassifier(autoencoder, max_iter=20, random_state=0)
        network.fit(X_train, y_few)
        for j, model in enumerate((linear, spreading, network)):
            accuracy[seed, i, j] = model.score(X_test, y_test)

# %%
# Left: accuracy, the mean of two choices of the labelled images and each of them. Right: what
# twenty labelled images are.

figure, (ax, right) = plt.subplots(1, 2, figsize=(9, 4), width_ratios=(4, 1), layout="constrained")
for j, (name, color) in enumerate(zip(names, ("0.5", "C1", "C0"), strict=True)):
    ax.plot(numbers, accuracy[:, :, j].mean(axis=0), color=color, label=name)
    ax.plot(numbers, accuracy[:, :, j].T, ".", color=color)
    print(f"{name:22}", *accuracy[:, :, j].mean(axis=0).round(3))
ax.set(xlabel="labelled images", ylabel="accuracy on test images", xscale="log")
ax.set_xticks(numbers, numbers)
ax.minorticks_off()
ax.legend(loc="lower right")

images = np.pad(X_train.reshape(-1, 8, 8), [(0, 0), (1, 1), (1, 1)])
two_of_each = [np.flatnonzero(y_train == digit)[:2] for digit in range(10)]
right.imshow(np.vstack([np.hstack(images[two]) for two in two_of_each]), cmap="gray_r")
right.set(xticks=[], yticks=[], title="20 images")
plt.show()

# %%
# With two labels of each class, the autoencoder is ahead. From fifty labels on, ``LabelSpreading``
# is as good or better, and takes no time: clean digits of a class are close to each other. It keeps
# all training images to predict new ones, however, while the classifier of an autoencoder is one
# network. Larger networks and more unlabelled images change the order: see the guide on few labels.
