"""What the classes of the known data sets are called, in the original's order, and the colours of label maps."""

import numpy as np

from dcn_tasks.config import Config


def listed(text: str) -> list[str]:
    return text.split(",")


VOC = listed(
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,pottedplant,sheep,"
    "sofa,train,tvmonitor"
)
COCO = listed(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,bench,"
    "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,"
    "sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,"
    "bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,"
    "toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,"
    "teddy bear,hair drier,toothbrush"
)
CITYSCAPES = {  # training ids 0 to 18; there is no background
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
KNOWN = {
    "PascalVOC": ["background", *VOC],
    "coco": ["background", *COCO],
    "CityScape": list(CITYSCAPES),
}


def class_names(cfg: Config) -> list[str]:
    """Names of classes 0 .. NUM_CLASSES-1: dataset.CLASS_NAMES after the background, else the data set's, else numbers."""
    count = cfg.dataset.NUM_CLASSES
    own = ["background", *cfg.dataset.CLASS_NAMES]
    known = own if cfg.dataset.CLASS_NAMES else KNOWN.get(cfg.dataset.dataset, [])
    return list(known) if len(known) == count else [f"class {index}" for index in range(count)]


def label_colours(cfg: Config) -> np.ndarray:
    """RGB uint8 [256, 3] by label: Cityscapes' own colours, else VOC's, which spread the label's bits over the channels."""
    if cfg.dataset.dataset == "CityScape":
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(CITYSCAPES)] = list(CITYSCAPES.values())
        return colours
    labels = np.arange(256)
    spread = np.zeros((256, 3), np.int64)
    for place in range(8):
        for channel in range(3):
            spread[:, channel] |= (labels >> (3 * place + channel) & 1) << (7 - place)
    return spread.astype(np.uint8)
