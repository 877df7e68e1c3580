"""The classes of the painted streets, as train ids, with their names and colours."""

ROAD, PAVEMENT, BUILDING, VEGETATION, SKY, CAR, PERSON, POST, SIGN, LANE_MARK, FENCE = range(11)
VOID = 255

NAMES = (
    "road",
    "pavement",
    "building",
    "vegetation",
    "sky",
    "car",
    "person",
    "post",
    "sign",
    "lane mark",
    "fence",
)

# Cityscapes colours where Cityscapes has the class.
PALETTE = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (107, 142, 35),
    (70, 130, 180),
    (0, 0, 142),
    (220, 20, 60),
    (153, 153, 153),
    (220, 220, 0),
    (255, 255, 255),
    (190, 153, 153),
)
