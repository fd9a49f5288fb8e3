from streamer.dashboard.themes import DARK, LIGHT, label_colours
from tests.dashboard.scripted_feed import LABELS


def test_each_label_of_the_bundled_model_has_its_colour() -> None:
    colours = label_colours(DARK)
    assert {label: colours[f"label-{index}"] for index, label in enumerate(LABELS)} == {
        "neutral": "#AEB7C4",
        "calm": "#56B4E9",
        "happy": "#EFE15A",
        "sad": "#5590DC",
        "angry": "#EB6B2C",
        "fearful": "#D68DB8",
        "disgust": "#22B58A",
        "surprised": "#E69F00",
    }


def test_no_two_labels_share_a_colour() -> None:
    for theme in (DARK, LIGHT):
        assert len(set(label_colours(theme).values())) == len(LABELS)
