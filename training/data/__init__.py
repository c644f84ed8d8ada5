"""From dataset roots to batches.

records.py          roots -> HeadData: usable pictures, their targets, their cache
reading.py          records -> rows: labels, masks, pictures and depths, each problem recorded
sources.py          roots -> records: sizes, variants of augmented outputs, bald heads
head_points.py      label and depth map -> position, visibility and depth of the 174 points of a picture
point_trust.py      point mask -> which labels of an augmented picture are certainly still true
split.py, leaks.py  persons -> train, val, test; refuses persons or pictures that are in two of them
cache.py            decoded pictures, memory-mapped; shards.py: their files; memory.py: stored hashes and depths
loader.py           the order of pictures, exact from any step on; prefetched batches
augmentation.py     changes of a batch on the device, points included
hand_dataset.py     folders of labelled hands -> records; hand_squares.py: -> squares, cached; hand_loader.py: divided
"""
