#!/usr/bin/env bash
# Which times its readers in Python take from a TextGrid that Praat wrote.
#
# Guess:     a time is a number, of any size and sign (Praat's manual, "TextGrid file formats": free-standing numbers); what
#            Praat wrote, every reader reads.
# Behaviour: Praat writes what is below 0.0001 s with an exponent, and rounding brings such times about: a part from 0.1 s
#            on, stretched three times and moved to 0, starts at 5.55e-17 s. pympi searches a line for the digits and points
#            at its end, and says nothing: it starts at 17 s, ahead of a second interval at 0.6 s. A time before 0, in a
#            TextGrid that is aligned to an event, loses its sign. praatio reads both in a short text file; in the long one,
#            the form that Praat saves by default, it misses a field.
# Versions:  praat-parselmouth 0.4.7 (Praat 6.1.38), pympi-ling 1.71, praatio 6.2.2, textgrid 1.6.1, Python 3.11.
# Seen:      starts of the first two intervals, in s
#            stretched, text: praat 5.55e-17 0.6, pympi 17 0.6, praatio Expected field in Textgrid missing., textgrid 0 0.6
#            aligned, text: praat -0.3 -0.2, pympi 0.3 0.2, praatio Expected field in Textgrid missing., textgrid -0.3 -0.2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet praat-parselmouth==0.4.7 pympi-ling==1.71 praatio==6.2.2 textgrid==1.6.1
cd "$folder"
cat > times.py <<'PYTHON'
import parselmouth
import praatio.textgrid
import praatio.utilities.errors
import pympi
import textgrid
from parselmouth.praat import call


def by_praat(name: str) -> list[float]:
    grid = parselmouth.read(name)
    return [call(grid, "Get start time of interval", 1, number) for number in (1, 2)]


def by_pympi(name: str) -> list[float]:
    (tier,) = pympi.TextGrid(name).get_tiers()
    return [start for start, _, _ in tier.intervals]


def by_praatio(name: str) -> list[float]:
    (tier,) = praatio.textgrid.openTextgrid(name, includeEmptyIntervals=True).tiers
    return [interval.start for interval in tier.entries]


def by_textgrid(name: str) -> list[float]:
    return [interval.minTime for interval in textgrid.TextGrid.fromFile(name)[0]]


def starts(reader: str, name: str) -> str:
    try:
        times_s = globals()[f"by_{reader}"](name)
    except praatio.utilities.errors.ParsingError as error:
        return f"{reader} {error}"
    return f"{reader} {times_s[0]:.3g} {times_s[1]:.3g}"


whole = call("Create TextGrid", 0, 1, "emotion", "")
for time_s in (0.1, 0.3, 0.7):
    call(whole, "Insert boundary", 1, time_s)
for number, label in enumerate(("neutral", "happy", "sad", "neutral"), 1):
    call(whole, "Set interval text", 1, number, label)
stretched = call(whole, "Extract part", 0.1, 0.7, "yes")
call(stretched, "Scale times by", 3)
call(stretched, "Shift times by", -0.3)
aligned = whole.copy()
call(aligned, "Shift times by", -0.3)

for what, grid in (("stretched", stretched), ("aligned", aligned)):
    for form in ("text", "short text"):
        call(grid, f"Save as {form} file", "it.TextGrid")
        print(f"{what}, {form}:", ", ".join(starts(by, "it.TextGrid") for by in ("praat", "pympi", "praatio", "textgrid")))
PYTHON
venv/bin/python times.py | tee output.txt
diff output.txt - <<'SEEN'
stretched, text: praat 5.55e-17 0.6, pympi 17 0.6, praatio Expected field in Textgrid missing., textgrid 0 0.6
stretched, short text: praat 5.55e-17 0.6, pympi 17 0.6, praatio 5.55e-17 0.6, textgrid 0 0.6
aligned, text: praat -0.3 -0.2, pympi 0.3 0.2, praatio Expected field in Textgrid missing., textgrid -0.3 -0.2
aligned, short text: praat -0.3 -0.2, pympi 0.3 0.2, praatio -0.3 -0.2, textgrid -0.3 -0.2
SEEN
echo "as seen"
