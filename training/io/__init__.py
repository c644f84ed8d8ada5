"""Files of other programs: COCO's and labelme's."""
