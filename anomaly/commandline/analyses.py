"""The analyses of the program: how each is asked for, what it is for, and whom to cite."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Analysis:
    """One analysis: how it is asked for, what it is for, and its source."""

    name: str
    summary: str
    asked: str
    cite: str


ANALYSES = (
    Analysis(
        "auroc",
        "chance that an image with the outcome scores higher, with an interval that counts persons, not images",
        "evaluate --outcome",
        "DeLong et al. 1988; Sun and Xu 2014; clustered: Obuchowski 1997; scores that separate: Newcombe 2006",
    ),
    Analysis(
        "comparison",
        "differences between scores on the same images, counted together",
        "evaluate --compare",
        "DeLong et al. 1988; Obuchowski 1997; Holm 1979",
    ),
    Analysis(
        "where",
        "whether the score is of the disease or of how the image was taken: by parts of the map, size and brightness",
        "evaluate --outcome",
        "DeLong et al. 1988; Obuchowski 1997",
    ),
    Analysis(
        "strata",
        "the same within values of a column, and whether these differ",
        "evaluate --strata",
        "Cochran 1954; Holm 1979",
    ),
    Analysis(
        "odds",
        "odds ratio per standard deviation, crude and adjusted",
        "evaluate --adjust",
        "GEE, independent: Liang and Zeger 1986, Pepe and Anderson 1994; few persons: Mancl and DeRouen 2001",
    ),
    Analysis(
        "added_value",
        "what the score adds to the covariates alone",
        "evaluate --adjust",
        "nested models: Demler et al. 2012",
    ),
    Analysis("adjusted_roc", "the AUROC among people alike", "evaluate --adjust", "Janes and Pepe 2009"),
    Analysis(
        "matched",
        "cases against controls of their own set, such as the other knee",
        "evaluate --match",
        "conditional logistic regression: Breslow and Day 1980",
    ),
    Analysis(
        "survival",
        "curves by thirds of the score, hazard ratios, the AUROC as time goes by",
        "evaluate --time --event",
        "Kaplan and Meier 1958; Cox 1972; robust: Lin and Wei 1989; yearly visits: D'Agostino et al. 1990; "
        "AUROC by a time: Uno et al. 2007",
    ),
    Analysis(
        "calibration", "whether the score, read as a chance, means what it says", "evaluate", "Van Calster et al. 2016"
    ),
    Analysis(
        "visits",
        "change between visits, what of it is noise, lesions that came and went, and what the change tells",
        "evaluate --visits",
        "least detectable change: Bland and Altman 1996; latest score: D'Agostino et al. 1990, Andersen and Gill 1982; "
        "slopes: Laird and Ware 1982",
    ),
    Analysis(
        "truth",
        "whether maps mark the disease: average precision, AUROC, PRO and Dice of pixels, beside floors",
        "evaluate --truth",
        "PRO: Bergmann et al. 2021",
    ),
    Analysis(
        "lesions",
        "lesions found against false ones an image, by limit, by size, and as a curve",
        "evaluate --truth",
        "found by any pixel: Carass et al. 2017; by a tenth: Commowick et al. 2018",
    ),
    Analysis(
        "associate",
        "where maps go with an outcome, corrected for all voxels, and whether that predicts",
        "associate",
        "Freedman-Lane: Winkler et al. 2014; persons and pairs: Winkler et al. 2015; TFCE: Smith and Nichols 2009",
    ),
    Analysis(
        "generate",
        "how diverse, how like real ones and how new the images are that a run draws",
        "generate RUN",
        "MS-SSIM: Wang et al. 2003, its use: Odena et al. 2017; MMD: Gretton et al. 2012; Frechet distance: Dowson and "
        "Landau 1982, Heusel et al. 2017; copies: Meehan et al. 2020",
    ),
    Analysis(
        "translation",
        "whether translated images keep structure, come near a known truth, and are told from real ones by a judge",
        "translate evaluate RUN",
        "shared information: Studholme et al. 1999; judge: Lopez-Paz and Oquab 2017; distances: see generate",
    ),
)
