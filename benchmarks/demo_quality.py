"""What the demo reaches: hit@1 and MAP on the 1,000 Fashion-MNIST test images, and how long it trains."""

import json

from demo.fashion_mnist import main

if __name__ == "__main__":
    figures = main(picture=None)
    tuned = figures.metrics["tuned"]
    result = {"benchmark": "demo_quality", "hit1": tuned["hit@1"], "map": tuned["map"]}
    print(
        json.dumps({**result, "train_seconds": figures.train_seconds, "ready_seconds": figures.ready_seconds})
    )
