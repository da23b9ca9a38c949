"""What a person sees of a receipt."""

from interfaces.ui.drawing.receipt import receipt_html


def test_a_receipt_says_what_the_answer_was_computed_on() -> None:
    drawn = receipt_html({"status": "charged", "computed_on": "onnxruntime 1, CPU <any>"})

    assert "<dt>Computed on</dt><dd>onnxruntime 1, CPU &lt;any&gt;</dd>" in drawn


def test_what_is_not_known_has_no_row() -> None:
    assert "Computed on" not in receipt_html({"status": "charged", "computed_on": None})
