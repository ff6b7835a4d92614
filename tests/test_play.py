"""A slider redraws the picture below it, which stays an output of its own."""

from types import SimpleNamespace

from course import play


def test_moving_the_slider_draws_anew_in_the_same_place(monkeypatch):
    shown, updated, drawn = [], [], []

    def display(what, display_id=None):
        shown.append((what, display_id))
        return SimpleNamespace(update=updated.append)

    def draw(value):
        drawn.append(value)
        return f"picture of {value}"

    monkeypatch.setattr(play, "display", display)
    control = play.slider("b", 0.5, 0, 1, 0.1)
    assert play.play(draw, control) is None
    assert shown == [(control, None), ("picture of 0.5", True)] and not updated
    control.value = 0.7
    assert drawn == [0.5, 0.7] and updated == ["picture of 0.7"]
    assert (control.min, control.max, control.continuous_update) == (0, 1, False)  # not at every pixel
