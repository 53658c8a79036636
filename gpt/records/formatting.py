"""Numbers and names as a reader meets them: in sentences, tables and figures alike."""

import math
import re
from collections.abc import Sequence

MISSING = "-"


def decimals(smallest_effect: float) -> int:
    """Decimals that show the metric to a hundredth of the smallest effect that matters."""
    return max(0, 2 - math.floor(math.log10(smallest_effect)))


def number(value: float | None) -> float:
    """A number of a record, JSON's null being NaN again."""
    return math.nan if value is None else value


def fixed(value: float | None, places: int) -> str:
    """The number with so many decimals, without a minus before zero; a dash where there is none."""
    value = number(value)
    if not math.isfinite(value):
        return MISSING
    text = f"{value:.{places}f}"
    return text.lstrip("-") if float(text) == 0 else text


def signed(value: float | None, places: int) -> str:
    """The same with a plus before what is above zero."""
    text = fixed(value, places)
    return f"+{text}" if text != MISSING and float(text) > 0 else text


def interval(low: float | None, high: float | None, places: int) -> str:
    """`[-0.0123, +0.0045]`."""
    text = f"[{signed(low, places)}, {signed(high, places)}]"
    return MISSING if MISSING in (fixed(low, places), fixed(high, places)) else text


def short(value: float | None) -> str:
    """Three significant digits; a dash where there is no number."""
    value = number(value)
    return f"{value:.3g}" if math.isfinite(value) else MISSING


def significant(value: float) -> float:
    """The number to six digits, which is more than any figure shows; for long lists in a record."""
    return float(f"{value:.6g}")


def p_text(p: float) -> str:
    """`= 0.016`, `< 0.001`, or words where the test could not be made."""
    if math.isnan(p):
        return "not computable"
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def p_run(p: float) -> str:
    """A p value as a table shows it."""
    return MISSING if math.isnan(p) else p_text(p).removeprefix("= ")


def percent(share: float) -> str:
    """A share between 0 and 1; never rounded to none or all when it is neither."""
    if not math.isfinite(share):
        return MISSING
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def count(n: int, one: str, many: str = "") -> str:
    """`1 pair`, `7 pairs`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def lasting(seconds: float) -> str:
    """`45 s`, `12 min`, `2 h 05 min`."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)


def slug(text: str) -> str:
    """`optim.lr = 0.001` as part of a file name."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
