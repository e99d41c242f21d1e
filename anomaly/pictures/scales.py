"""What of a change is next to nothing: scales of colours go no finer, and words say so.

Changes are in units of prepared images, [-1, 1], whose range is 2; words tell them as shares of that range.
"""

RANGE = 2.0
FINEST = 0.02 * RANGE
"""No scale of changes ends below it: drawn on a finer one, what nobody could see in the image is in full colour."""
NOTHING = 0.01 * RANGE
"""Where the largest change of an image is smaller, next to nothing is changed."""


def percent_of_range(change: float) -> str:
    """A change as a share of the range of grey values, such as "0.03 %"."""
    return f"{100 * change / RANGE:.2g} %"


def next_to_nothing(largest: float, where: str = "", begin: str = "Nothing changes yet") -> str:
    """A sentence where the largest change is next to nothing, else "".

    Args:
        largest: size of the largest change, 0 to 2; what is not a number says nothing.
        where: whose change it is, such as " in 12 images".
        begin: the first words.
    """
    if not largest < NOTHING:
        return ""
    return f"{begin}: the largest change{where} is {percent_of_range(largest)} of the range of grey values."
