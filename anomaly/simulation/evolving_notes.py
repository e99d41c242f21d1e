"""What a simulation of persons seen twice says of itself."""

NOTES = {
    "oracle": "knows the true size of each lesion, its look and the years, not which lesions disobey their look: the "
    "ceiling for any method, on the persons of test, by the volume of the map as forecasts are judged; accuracy is of "
    "growth against shrinkage, of the `judged` persons whose map changes by more than `least`",
    "volume": "pixels of the true mask, map_volume those of the map above 0.5; change, expected_change and map_change "
    "stand with the second visit",
    "looks": "a bright rim: grows; faint: shrinks; plain: stays",
}
ABOUT = """SIMULATED persons seen twice
============================

Everything in this folder was drawn by a program. Nobody in it exists, no patient was imaged, and no figure obtained
from it says anything about people or their diseases. It is here to try forecasts where the truth is known.

{persons} persons, two visits each, one or two years apart. Lesions with a bright rim mostly grow, faint ones mostly
shrink, plain ones stay; one in ten goes against its look, and nobody can see which.

Files
- cohort.csv: one row an image, see below.
- images/: what a scanner might show. maps/: what a segmentation might say, 0 to 1, with noise. masks/: the truth.
- truth.json: the settings, what its numbers mean, and how well knowing all looks tells growth from shrinkage.
- preview.png: some of the persons.

Columns of cohort.csv
- id, path, subject; visit_years: 0, and 1 or 2; split: train, val or test
- map, mask: paths; volume, map_volume: pixels of the mask, and of the map above 0.5
- stable: 1 where all lesions of the person are plain; lesions: how many
- with the second visit: change of the volume, map_change of that of the map, expected_change by looks and years
- simulated: always 1
"""
