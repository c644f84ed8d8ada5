"""From dataset roots to batches: which pictures, who is trained and who tested on, decoded pictures, their order.

records.py  roots -> HeadData: pictures that can be used, their targets, their cache
reading.py  records -> rows: labels, masks, pictures and depths read, each fault told
sources.py  roots -> records: sizes, variants of augmented outputs, bald heads
points.py   label, point mask and depth map -> what is known of the 174 points of a picture
split.py    persons -> train, val, test
leaks.py    refuses parts that know each other's persons
cache.py    decoded pictures, memory-mapped; shards.py: their files; memory.py: hashes and depths, remembered;
            pool.py: work spread over processes
loader.py   the order of pictures, exact from any step on; batches, made ahead
augmentation.py  changes of a batch on the device, points included
"""
