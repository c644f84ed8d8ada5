"""Networks and their losses: backbones, acuSimNet, heatmaps, hand models, published weights."""
