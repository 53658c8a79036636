import pytest

from gpt.data.shakespeare import Play, copy


def test_a_speech_is_a_blank_line_the_speaker_and_the_lines() -> None:
    assert copy(Play("play.md"), "# Title\n\n**First Lord**  \nOne,  \ntwo.\n\n**All**  \nThree.\n") == (
        "\nFirst Lord:\nOne,\ntwo.\n\nAll:\nThree."
    )


def test_headings_and_stage_directions_are_left_out() -> None:
    markdown = (
        "## ACT I\n\n_Enter all_\n\n**KING**  \nOne _Aloud_  \n_\\[Aside]_  \ntwo\n\n"
        "_Exit,\nslowly_\n\nthree\n\n## ACT II\n\nRome."
    )
    assert copy(Play("play.md"), markdown) == "\nKING:\nOne \ntwo\nthree"


def test_of_joint_speakers_the_first_is_named() -> None:
    assert copy(Play("play.md"), "**GREMIO & TRANIO**  \nAmen.") == "\nGREMIO:\nAmen."


def test_a_speech_that_opens_with_a_bracketed_direction_keeps_its_speaker_alone() -> None:
    assert (
        copy(Play("play.md"), "**KING**  \n_[Aside]_  \nOne.\n\ntwo.\n\n**ALL**  \nThree.") == "\nKING:\n\nALL:\nThree."
    )


def test_a_speaker_without_a_name_leaves_an_empty_line() -> None:
    assert copy(Play("play.md"), "****  \n_[Song]_  \nLa, la.\n\n**ALL**  \nThree.") == "\n\nALL:\nThree."


def test_the_running_title_stands_before_every_scene_but_the_first() -> None:
    play = Play("play.md", running_title="3 KING HENRY VI")
    assert copy(play, "### SCENE I\n\n**A**  \nOne.\n\n### SCENE II\n\n**B**  \nTwo.") == (
        "\nA:\nOne.\n3 KING HENRY VI\n\nB:\nTwo."
    )


@pytest.mark.parametrize("markdown", ["**A**  \nTwo.", "**A**  \nOne, One."])
def test_a_change_must_be_found_exactly_once(markdown: str) -> None:
    with pytest.raises(AssertionError, match=r"play\.md: 'One'"):
        copy(Play("play.md", (("One", "Two"),)), markdown)
