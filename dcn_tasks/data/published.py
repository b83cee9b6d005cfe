"""Where the data sets are published, and the folder layouts that are wanted: for the sentence when they are not there."""

from pathlib import Path

from dcn_tasks.errors import InputError

VOC = (
    "VOC{year}/JPEGImages/*.jpg, VOC{year}/Annotations/*.xml and VOC{year}/ImageSets/Main/*.txt, for segmentation "
    "SegmentationClass/*.png and ImageSets/Segmentation/*.txt, as unpacked from VOCtrainval_06-Nov-2007.tar, "
    "VOCtest_06-Nov-2007.tar and VOCtrainval_11-May-2012.tar of http://host.robots.ox.ac.uk/pascal/VOC/"
)
SBD = (
    "cls/*.mat, train.txt and val.txt (benchmark_RELEASE/dataset of "
    "http://home.bharathh.info/pubs/codes/SBD/download.html), or the same masks as VOC2012/SegmentationClassAug/*.png"
)
COCO = (
    "annotations/instances_{set}.json (image_info_{set}.json for test sets) and images/{images}/*.jpg or {images}/*.jpg, "
    "from https://cocodataset.org/#download; minival2014 and valminusminival2014 are splits of val2014, from the page of "
    "py-faster-rcnn's data"
)
CITYSCAPES = (
    "leftImg8bit/{split}/CITY/*_leftImg8bit.png and gtFine/{split}/CITY/*_gtFine_labelIds.png (or _labelTrainIds.png), "
    "from leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of https://www.cityscapes-dataset.com (registration)"
)
IMAGENET = (
    "val/SYNSET/*.JPEG, or val/*.JPEG and val.txt (a file's name and its class, 0 to 999, a line), of ILSVRC2012_img_val.tar "
    "from https://image-net.org/download-images (registration)"
)
FOLDER = (
    "Annotations/*.xml with JPEGImages/ or images/ (and ImageSets/Main/{set}.txt), or annotations/instances_{set}.json "
    "(or {set}.json) with images/; for segmentation {set}/ with {set}annot/, or images/{set}/ with labels/{set}/"
)


def missing(folder: Path, layout: str, **names: object) -> InputError:
    """The sentence: what was looked for, and where it is to be had."""
    return InputError(
        f"{folder}: expected {layout.format(**names)}; not there: put it there or give its folder with --data"
    )
